"""Which cluster to talk to."""

import os
from pathlib import Path

from raftsched.cli.failures import usage
from raftsched.cli.files.text import read_text
from raftsched.cli.files.toml_reader import read_toml

ENDPOINTS_VARIABLE = "RAFTSCHED_ENDPOINTS"
CONFIG_VARIABLE = "RAFTSCHED_CONFIG"
DEFAULT_ENDPOINTS = "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103"


def find_endpoints(flag: str | None) -> str:
    """From the flag, RAFTSCHED_ENDPOINTS, the config file, or the default, in this order; separated by commas."""
    return flag or os.environ.get(ENDPOINTS_VARIABLE) or _from_file() or DEFAULT_ENDPOINTS


def config_file() -> Path:
    """The file named by RAFTSCHED_CONFIG, else raftsched/config.toml in the user's configuration directory."""
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path("~/.config").expanduser()) / "raftsched" / "config.toml"


def _from_file() -> str:
    file = config_file()
    if CONFIG_VARIABLE not in os.environ and not file.exists():
        return ""
    values = read_toml(str(file), read_text(str(file)))
    if unknown := sorted(values.keys() - {"endpoints"}):
        raise usage(f"{file}: unknown key {unknown[0]!r}; the only key is endpoints")
    endpoints = values.get("endpoints", [])
    if not isinstance(endpoints, list) or not all(isinstance(each, str) for each in endpoints):
        raise usage(f'{file}: endpoints must be a list such as ["127.0.0.1:7101"]')
    return ",".join(endpoints)
