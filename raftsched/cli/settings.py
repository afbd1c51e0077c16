"""Which cluster to talk to."""

import os
from collections.abc import Mapping
from pathlib import Path

from raftsched.cli.failures import usage
from raftsched.cli.files.text import read_text
from raftsched.cli.files.toml_reader import read_toml

ENDPOINTS_VARIABLE = "RAFTSCHED_ENDPOINTS"
CONFIG_VARIABLE = "RAFTSCHED_CONFIG"
DEFAULT_ENDPOINTS = "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103"


TLS_KEYS = ("tls_ca", "tls_cert", "tls_key")


def find_endpoints(flag: str | None) -> str:
    """From the flag, RAFTSCHED_ENDPOINTS, the config file, or the default, in this order; separated by commas."""
    return flag or os.environ.get(ENDPOINTS_VARIABLE) or _endpoints_of_file() or DEFAULT_ENDPOINTS


def find_tls(flags: Mapping[str, str | None]) -> dict[str, str]:
    """The files of TLS by the names ``ca``, ``cert`` and ``key``; empty: plain text.

    Each from its flag, by the names of ``TLS_KEYS``, else from RAFTSCHED_TLS_CA and so on, else from the config file.
    """
    file = _from_file()
    found = {
        key.removeprefix("tls_"): flags.get(key) or os.environ.get(f"RAFTSCHED_{key.upper()}") or file.get(key, "")
        for key in TLS_KEYS
    }
    given = {name: str(value) for name, value in found.items() if value}
    if given and not found["ca"]:
        raise usage("--tls-cert and --tls-key want --tls-ca: which authorities are to be trusted?")
    return given


def config_file() -> Path:
    """The file named by RAFTSCHED_CONFIG, else raftsched/config.toml in the user's configuration directory."""
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path("~/.config").expanduser()) / "raftsched" / "config.toml"


def _from_file() -> dict[str, object]:
    file = config_file()
    if CONFIG_VARIABLE not in os.environ and not file.exists():
        return {}
    values = read_toml(str(file), read_text(str(file)))
    if unknown := sorted(values.keys() - {"endpoints", *TLS_KEYS}):
        raise usage(f"{file}: unknown key {unknown[0]!r}; the keys are endpoints, {', '.join(TLS_KEYS)}")
    for key in TLS_KEYS:
        if not isinstance(values.get(key, ""), str):
            raise usage(f"{file}: {key} must be the name of a file")
    return values


def _endpoints_of_file() -> str:
    file, endpoints = config_file(), _from_file().get("endpoints", [])
    if not isinstance(endpoints, list) or not all(isinstance(each, str) for each in endpoints):
        raise usage(f'{file}: endpoints must be a list such as ["127.0.0.1:7101"]')
    return ",".join(endpoints)
