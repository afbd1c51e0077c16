"""Reads TOML for the command line."""

from __future__ import annotations

from typing import Any

from raftsched.cli.failures import usage
from raftsched.cli.files.text import at_line
from raftsched.toml_text import TomlError, parse


def read_toml(file: str, text: str) -> dict[str, Any]:
    """The document. Raises Failure, with the line."""
    try:
        return parse(text)
    except TomlError as error:
        raise usage(f"{at_line(file, error.line)}: is not TOML: {error}") from error
