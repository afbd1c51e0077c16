"""The state machine of one node by itself: what it costs to apply a herd, from its registration to its end."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import task_pb2

from bench.measure import Figures
from raftsched.consensus.snapshot import APPLIED_INDEX_KEY, encode_index
from raftsched.core.machine import COMMAND_VERSION, apply
from raftsched.core.policy.due import decide_ahead
from raftsched.core.state import ids
from raftsched.core.state.model import SECOND_US, Cursor, ExecutionState
from raftsched.core.state.rows import decode_task
from raftsched.ports import Table
from raftsched.scheduler.firing import add_item
from raftsched.store.lmdb_store import LmdbStore

_NOW_US = 1_800_000_000 * SECOND_US
_AT_US = _NOW_US + 60 * SECOND_US
_ENTRY_ITEMS = 500
_ALONE = 500
"""Of the tasks, so many are registered in entries and commits of their own."""


def applying(*, tasks: int = 10_000, together: int = 2) -> Figures:
    """The state machine of one node, without a cluster: a herd registered, armed, ended. TOGETHER: entries a commit."""
    with tempfile.TemporaryDirectory(prefix="raftsched-bench-") as directory:
        node = _Node(Path(directory), together)
        names = [f"herd-{number:06}" for number in range(tasks)]
        figures: Figures = {"tasks": tasks}
        figures["registered_alone_us"] = node.applied(
            [_registration([f"alone-{number:06}"]) for number in range(_ALONE)], _ALONE, together=1
        )
        figures["registered_us"] = node.applied(_registrations(names), tasks)
        figures["fired_us"] = node.applied(_fires(node.store, names), tasks)
        figures["ended_us"] = node.applied(_reports(node.store, names), tasks)
        node.close()
    return figures


class _Node:
    """Tables on disk, and the entries that are applied to them; processor time, with that of the commits."""

    def __init__(self, directory: Path, together: int) -> None:
        self.store = LmdbStore(directory / "state", max_size_bytes=4 << 30)
        self._together = together
        self._index = 0

    def close(self) -> None:
        """Release the files."""
        self.store.close()

    def applied(self, entries: list[bytes], items: int, together: int = 0) -> float:
        """Apply entries, and commit as often as is said; microseconds for each of the items."""
        began_s = time.process_time()
        for number, entry in enumerate(entries, 1):
            self._index += 1
            applied = apply(self.store.batch(), self._index, entry)
            assert not applied.outcome.code, applied.outcome.message
            self.store.batch().put(Table.META, APPLIED_INDEX_KEY, encode_index(self._index))
            if number % (together or self._together) == 0:
                self.store.commit()
        self.store.commit()
        return round((time.process_time() - began_s) / items * 1e6, 1)


def _command() -> pb.Command:
    return pb.Command(version=COMMAND_VERSION, now_us=_NOW_US, leader_id="n1", term=1)


def _groups(items: list[str]) -> Iterator[list[str]]:
    return (items[start : start + _ENTRY_ITEMS] for start in range(0, len(items), _ENTRY_ITEMS))


def _registrations(names: list[str]) -> list[bytes]:
    return [_registration(group) for group in _groups(names)]


def _registration(names: list[str]) -> bytes:
    command = _command()
    for name in names:
        task = task_pb2.Task(name=name)
        task.schedule.at.FromMicroseconds(_AT_US)
        task.action.noop.SetInParent()
        command.register_tasks.items.add(task=task, next_us=_AT_US)
    return command.SerializeToString()


def _fires(store: LmdbStore, names: list[str]) -> list[bytes]:
    """As the leader decides ahead."""
    with store.read() as reader:
        tasks = {name: decode_task(reader.get(Table.TASKS, name.encode()) or b"") for name in names}

    def fire(group: list[str]) -> bytes:
        command = _command()
        for number, name in enumerate(group):
            plan = decide_ahead(tasks[name], Cursor(_AT_US), _AT_US, 1)
            item = add_item(command, tasks[name], _AT_US, plan)
            for decided in item.decided:
                decided.armed, decided.executor_id = True, f"n{number % 3 + 1}-0123abcd"
        return command.SerializeToString()

    return [fire(group) for group in _groups(names)]


def _reports(store: LmdbStore, names: list[str]) -> list[bytes]:
    """As executors report no-ops; in the order of the fires."""
    with store.read() as reader:
        tasks = [decode_task(reader.get(Table.TASKS, name.encode()) or b"") for name in names]

    def report(group: list[int]) -> bytes:
        command = _command()
        command.now_us = _AT_US + SECOND_US
        for number in group:
            item = command.report.items.add(
                id=ids.execution_id(tasks[number].uid, tasks[number].generation, _AT_US), attempt=1,
                executor_id=f"n{number % _ENTRY_ITEMS % 3 + 1}-0123abcd", state=ExecutionState.SUCCEEDED,
            )  # fmt: skip
            item.result.start_us, item.result.end_us = _AT_US + 900, _AT_US + 1_700
        return command.SerializeToString()

    return [
        report(list(range(start, min(start + _ENTRY_ITEMS, len(names)))))
        for start in range(0, len(names), _ENTRY_ITEMS)
    ]
