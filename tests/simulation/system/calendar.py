"""The nominal times of a schedule, worked out again: shares no code with the scheduler. Times in microseconds, UTC."""

from collections.abc import Callable
from dataclasses import dataclass

from raftsched_proto.v1 import task_pb2

SECOND = 1_000_000
_FIELDS = ((0, 59), (0, 59), (0, 23))
"""Second, minute, hour: what the simulated tasks use of cron. Day, month and weekday are always ``*``."""


@dataclass(frozen=True)
class Calendar:
    """The nominal times of one definition of a task."""

    after: Callable[[int], int]
    """The first nominal time later than that; 0: there is none."""
    kind: str

    def between(self, first: int, last: int) -> list[int]:
        """All nominal times from ``first`` to ``last``, both included."""
        times = []
        time = self.after(first - 1)
        while 0 < time <= last:
            times.append(time)
            time = self.after(time)
        return times


def calendar(schedule: task_pb2.Schedule) -> Calendar:
    """What a schedule asks for."""
    start, end = micros(schedule.start_time), micros(schedule.end_time)
    kind = schedule.WhichOneof("kind") or ""
    if kind == "at":
        rule = _once(micros(schedule.at))
    elif kind == "interval":
        rule = _interval(micros(schedule.interval.every), micros(schedule.interval.anchor))
    elif not kind:
        rule = _never
    else:
        rule = _cron(schedule.cron.expression)

    windows = [(micros(window.start_time), micros(window.end_time)) for window in schedule.exclusions]

    def after(time: int) -> int:
        found = rule(max(time, start - 1))
        while any(first <= found < last for first, last in windows):
            found = rule(found)
        return 0 if end and found >= end else found

    return Calendar(after, kind)


def micros(value: object) -> int:
    """Of a protobuf Timestamp or Duration."""
    return value.seconds * SECOND + value.nanos // 1_000


def _never(_time: int) -> int:
    """Of a task that only runs after others."""
    return 0


def _once(at: int) -> Callable[[int], int]:
    return lambda time: at if time < at else 0


def _interval(every: int, anchor: int) -> Callable[[int], int]:
    return lambda time: anchor if time < anchor else anchor + ((time - anchor) // every + 1) * every


def _cron(expression: str) -> Callable[[int], int]:
    parts = expression.split()
    assert len(parts) == 6
    assert parts[3:] == ["*", "*", "*"], expression
    wanted = [_field(part, *bounds) for part, bounds in zip(parts, _FIELDS, strict=False)]

    def after(time: int) -> int:
        second = time // SECOND + 1
        while not (second % 60 in wanted[0] and second // 60 % 60 in wanted[1] and second // 3600 % 24 in wanted[2]):
            second += 1
        return second * SECOND

    return after


def _field(text: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        values.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return values
