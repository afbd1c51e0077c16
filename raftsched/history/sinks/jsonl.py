"""JSON lines, to a file or to the standard output of the node."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from raftsched.history.settings import SinkSettings
from raftsched.history.sinks.base import Document, SinkFailed

STANDARD_OUTPUT = "-"


class JsonLinesSink:
    """Appends one line for each record. A file is opened anew for each batch, so that it may be rotated."""

    def __init__(self, settings: SinkSettings, say: Callable[[str], None]) -> None:
        self._target = settings.target.reveal()
        self._say = say

    def send(self, documents: list[Document]) -> int:
        """See Sink. What is in the file is on the disk (fsync)."""
        lines = [json.dumps({"id": each.id, **each.fields}, ensure_ascii=False) for each in documents]
        if self._target == STANDARD_OUTPUT:
            for line in lines:
                self._say(line)
            return 0
        try:
            with Path(self._target).open("a", encoding="utf-8", errors="replace") as file:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SinkFailed(f"cannot write {self._target}: {error.strerror}") from error
        return 0

    def close(self) -> None:
        """See Sink."""
