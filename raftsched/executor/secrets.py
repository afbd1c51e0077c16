"""Secrets of an executor: looked up when an attempt starts, put into its action, and kept out of all that it shows."""

import asyncio
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from raftsched_proto.v1 import task_pb2

from raftsched.definitions import references

ENV_PREFIX = "RAFTSCHED_SECRET_"
MAX_BYTES = 16 * 1024
MIN_CHARACTERS = 4
"""A shorter value is refused: it could not be taken out of an output without taking out all else."""
_SHOWN = b"***"
_LINE_CHARACTERS = 8
"""A line of a secret of several lines is taken out by itself when it is so long."""
_NAME = re.compile(references.NAME_PATTERN)


class SecretRefused(Exception):
    """A reference has no value here; the text names it."""


class SecretSource(Protocol):
    """Where an executor looks for the values of ``${secret:NAME}``."""

    def get(self, name: str) -> str:
        """The value. May block. Raises SecretRefused."""


class Secrets:
    """Values from the files of a directory, and from variables of the environment of the executor.

    The file ``NAME`` in the directory comes first: its whole text, without one line end at its end. Then the variable
    ``RAFTSCHED_SECRET_NAME``, with the name in capitals and ``_`` for ``.`` and ``-``. Both are read for each attempt.
    """

    def __init__(self, directory: Path | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environment = environment

    def get(self, name: str) -> str:
        """The value. Raises SecretRefused."""
        value = self._from_file(name)
        if value is None:
            value = self._environment.get(ENV_PREFIX + re.sub("[.-]", "_", name).upper())
        if value is None:
            raise SecretRefused(f"the secret {name!r} is unknown on this executor")
        if len(value) < MIN_CHARACTERS:
            raise SecretRefused(f"the secret {name!r} has fewer than {MIN_CHARACTERS} characters")
        return value

    def _from_file(self, name: str) -> str | None:
        if self._directory is None or not _NAME.fullmatch(name):
            return None
        try:
            with (self._directory / name).open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            text = data.decode()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SecretRefused(f"the secret {name!r} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SecretRefused(f"the secret {name!r} is not text in UTF-8") from None
        if len(data) > MAX_BYTES:
            raise SecretRefused(f"the secret {name!r} has more than {MAX_BYTES} bytes")
        return text.removesuffix("\n").removesuffix("\r")


async def reveal(action: task_pb2.Action, source: SecretSource) -> tuple[task_pb2.Action, "Redactor | None"]:
    """The action with its references replaced, and what keeps the values from being shown; None when there are none.

    The action that was given stays as it is. Raises SecretRefused.
    """
    if not any("${secret:" in text for _, text in references.texts(action)):
        return action, None
    return await asyncio.to_thread(_reveal, action, source)


def _reveal(action: task_pb2.Action, source: SecretSource) -> tuple[task_pb2.Action, "Redactor | None"]:
    values: dict[str, str] = {}

    def lookup(name: str) -> str:
        if name not in values:
            values[name] = source.get(name)
        return values[name]

    revealed = task_pb2.Action()
    revealed.CopyFrom(action)
    references.resolve(revealed, lookup)
    return revealed, Redactor(values.values()) if values else None


class Redactor:
    """Takes values out of what is shown: as they are, as JSON and URLs write them, and the lines of long ones.

    Output comes in pieces. What may be the beginning of a value is held back until the next piece.
    """

    def __init__(self, values: Iterable[str]) -> None:
        forms = {form.encode() for value in values for form in _forms(value) if len(form) >= MIN_CHARACTERS}
        # The longest first, for one may contain another.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))
        self._kept = b""

    def feed(self, data: bytes) -> bytes:
        """What may be shown of the output so far."""
        text = self._kept + data
        border = self._first_beginning(text)
        for found in self._pattern.finditer(text):
            if found.start() < border < found.end():
                border = found.start()
        shown = self._pattern.sub(_SHOWN, text[:border])
        self._kept = text[border:]
        return shown

    def flush(self) -> bytes:
        """What was held back."""
        kept, self._kept = self._kept, b""
        return self._pattern.sub(_SHOWN, kept)

    def text(self, text: str) -> str:
        """A text that is whole, such as an error."""
        return self._pattern.sub(_SHOWN, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")

    def _first_beginning(self, text: bytes) -> int:
        """The first position from which the rest of the text could be the beginning of a value; else its length."""
        first = len(text)
        for form in self._forms:
            at = text.find(form[:1], max(0, len(text) - len(form) + 1))
            while -1 < at < first:
                if form.startswith(text[at:]):
                    first = at
                at = text.find(form[:1], at + 1)
        return first


def _forms(value: str) -> Iterable[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value)
    yield quote(value, safe="")
    lines = value.splitlines()
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _LINE_CHARACTERS)
