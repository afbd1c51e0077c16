"""Connections of the node to its history index, for threads that answer questions."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from raftsched.history.schema import open_reader
from raftsched.ports import Clock

T = TypeVar("T")
MAX_QUESTIONS = 4
"""Answered at once; others wait."""
MAX_WAITING = 64
TIME_LIMIT_S = 5.0
_CHECK_INSTRUCTIONS = 20_000


class NotReady(Exception):
    """There is no index yet, or it is being made anew."""


class TooMuch(Exception):
    """The question took too long, or too many are asked; the message says which."""


class HistoryReader:
    """Answers questions in threads, each within a time limit."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._places = asyncio.Semaphore(MAX_QUESTIONS)
        self._asked = 0
        self._idle: list[tuple[int, sqlite3.Connection]] = []

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """The answer. Raises NotReady, TooMuch, and what the question raises."""
        if self._asked >= MAX_WAITING:
            raise TooMuch(f"{MAX_WAITING} searches wait at this node")
        self._asked += 1
        try:
            async with self._places:
                return await asyncio.to_thread(self._answer, question)
        finally:
            self._asked -= 1

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        deadline_s = self._clock.monotonic() + TIME_LIMIT_S
        with self._connection() as connection:
            connection.set_progress_handler(lambda: self._clock.monotonic() > deadline_s, _CHECK_INSTRUCTIONS)
            try:
                # One view for all statements of the question.
                connection.execute("BEGIN")
                return question(connection)
            except sqlite3.OperationalError as error:
                if "interrupted" in str(error):
                    raise TooMuch(f"the search took longer than {TIME_LIMIT_S:g} s; narrow it") from error
                raise
            finally:
                connection.set_progress_handler(None, 0)
                connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that has the name now: one that was moved aside is not asked any more."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            raise NotReady("the history index of this node is being made") from None
        connection = None
        while self._idle and connection is None:
            known, found = self._idle.pop()
            if known == inode:
                connection = found
            else:
                found.close()
        try:
            connection = connection or open_reader(self._path)
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                raise NotReady("the history index of this node is being made")
            yield connection
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
                connection = None
            raise NotReady(f"the history index of this node cannot be read: {error}") from error
        finally:
            if connection is not None:
                self._idle.append((inode, connection))

    def close(self) -> None:
        """Release the file."""
        while self._idle:
            self._idle.pop()[1].close()
