"""Settings that are secrets: they are shown masked unless somebody asks for them in as many words."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

MASK = "***"
_SHORTEST = 4
"""Characters of what is looked for in texts; shorter ones would be found in words that have nothing to do with it."""


class Secret:
    """A text that ``str``, ``repr``, f-strings and JSON give masked; ``reveal`` gives it as it is."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for where it is used."""
        return self._value

    def parts(self) -> list[str]:
        """What must not be shown of it, wherever it turns up: it, and what is behind a word such as Bearer."""
        return [self._value, self._value.rpartition(" ")[2]]

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.reveal() == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        shown = core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(), serialization=shown)


class SecretUrl(Secret):
    """A URL whose user, password and query are masked; where it is none, such as the path of a file, all is shown."""

    __slots__ = ()

    def parts(self) -> list[str]:
        """See Secret: user and password, the query, and each value in it."""
        try:
            url = urlsplit(self._value)
        except ValueError:
            return [self._value]
        if not url.scheme or not url.netloc:
            return []
        user = url.netloc.rpartition("@")[0]
        query = [pair.partition("=")[2] for pair in url.query.split("&")]
        found = [user, user.partition(":")[2], url.query, *query]
        return [*found, *map(unquote, found)]

    def __str__(self) -> str:
        try:
            url = urlsplit(self._value)
        except ValueError:
            return MASK
        if not url.scheme or not url.netloc:
            return self._value
        user, _, host = url.netloc.rpartition("@")
        query = f"?{MASK}" if url.query or url.fragment else ""
        return f"{url.scheme}://{MASK + '@' if user else ''}{host}{url.path}{query}"


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with each of the secrets masked, the longest first."""
    for each in sorted(set(secrets), key=len, reverse=True):
        if len(each) >= _SHORTEST:
            text = text.replace(each, MASK)
    return text
