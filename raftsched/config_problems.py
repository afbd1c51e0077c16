"""What is wrong with settings, in words: the key where it was written, what it was, and what it may be."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from pydantic import ValidationError

Origins: TypeAlias = "Mapping[tuple[str, ...], str]"
"""Which flag or variable gave the value of a key, by its path. What is not among them comes from the file."""
ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
SOCKET_PATTERN = r"^((unix|tcp)://.+)?$"
_PATTERNS = {
    ID_PATTERN: "must be an id: 1 to 63 of [A-Za-z0-9._-], starting with a letter or digit",
    SOCKET_PATTERN: "must begin with unix:// or tcp://",
}
_SHOWN_CHARACTERS = 80
_KEY = "[key]"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _one_of(context: Mapping[str, Any]) -> str:
    return f"must be one of {re.sub(' or ', ', ', str(context['expected'])).replace(chr(39), '')}"


def _pattern(context: Mapping[str, Any]) -> str:
    return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")


_WORDS: dict[str, str | Callable[[Mapping[str, Any]], str]] = {
    "extra_forbidden": "there is no such key; `--print-config` shows all of them",
    "missing": "is required",
    "greater_than_equal": lambda context: f"must be at least {_number(context['ge'])}",
    "less_than_equal": lambda context: f"must be at most {_number(context['le'])}",
    "literal_error": _one_of,
    "string_pattern_mismatch": _pattern,
    "string_too_short": lambda context: f"must have at least {context['min_length']} character",
    "string_too_long": lambda context: f"must have at most {context['max_length']:,} characters",
    "too_short": lambda context: f"must have at least {context['min_length']}",
    "too_long": lambda context: f"may have at most {context['max_length']}",
    "value_error": lambda context: str(context["error"]),
    "finite_number": "must be a number",
}
_KINDS = (
    ("int_", "must be a whole number"),
    ("float_", "must be a number"),
    ("bool_", "must be true or false"),
    ("string_", "must be a text"),
    ("path_", "must be the path of a file or directory"),
    ("list_", "must be a list"),
    ("dict_", "must be a table of names and values"),
    ("model_", "is a section, not a value"),
)


def told(error: ValidationError, origins: Origins) -> str:
    """All that is wrong, a line each."""
    lines = ["the configuration cannot be used:"]
    for problem in error.errors(include_url=False):
        path = tuple(str(part) for part in problem["loc"])
        lines.append(f"  {_key(path)}: {_words(problem)}{_value(path, problem, origins)}")
    return "\n".join(lines)


def _words(problem: Any) -> str:
    kind = problem["type"]
    # Of a text that becomes something else, such as a secret, lengths are told as of any sequence.
    known = _WORDS.get(f"string_{kind}" if isinstance(problem["input"], str) and kind.startswith("too_") else kind)
    if known is not None:
        return known if isinstance(known, str) else known(problem.get("ctx", {}))
    kind = next((words for prefix, words in _KINDS if problem["type"].startswith(prefix)), "")
    return kind or "cannot be used: " + problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")


def _key(path: tuple[str, ...]) -> str:
    """The path of a name that is none ends with the table that it is in."""
    return ".".join(path[:-2] if path[-1:] == (_KEY,) else path) or "configuration"


def _value(path: tuple[str, ...], problem: Any, origins: Origins) -> str:
    """Who gave it, and what it was. Not of a whole section: it may hold secrets."""
    given = next((origins[path[:length]] for length in range(len(path), 0, -1) if path[:length] in origins), "")
    value = problem["input"]
    hidden = not path or problem["type"] in ("missing", "extra_forbidden") or "headers" in path or "target" in path
    if hidden or isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        return f" ({given})" if given else ""
    shown = json.dumps(value, ensure_ascii=True, default=str)
    shown = shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 3] + "..."
    return f" ({given or 'it'} is {shown})"
