"""What a valid schedule does that its writer may not have meant."""

from collections.abc import Iterable, Iterator

from raftsched_proto.v1 import task_pb2

from raftsched.core.times.cron_notes import notes, rrule_notes


def as_warnings(found: Iterable[tuple[str, str]]) -> list[task_pb2.TaskWarning]:
    """As the API has them, each description once."""
    first = {text: field for field, text in reversed(list(found))}
    return [task_pb2.TaskWarning(field=field, description=text) for text, field in reversed(first.items())]


def schedule_notes(schedule: task_pb2.Schedule, path: str = "schedule") -> Iterator[tuple[str, str]]:
    """Field and description of what a valid schedule does that may not be meant."""
    match schedule.WhichOneof("kind"):
        case "cron":
            yield from ((f"{path}.cron.expression", text) for text in notes(schedule.cron.expression))
        case "rrule":
            yield from ((f"{path}.rrule.lines", text) for text in rrule_notes(schedule.rrule.lines))
        case "union":
            for position, each in enumerate(schedule.union.schedules):
                yield from schedule_notes(each, f"{path}.union.schedules[{position}]")
