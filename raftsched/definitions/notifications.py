"""Checks of what a task wants to be told, and where."""

from raftsched_proto.v1 import notification_pb2, task_pb2

from raftsched.core.state.model import SECOND_US
from raftsched.definitions import references
from raftsched.definitions.actions import header_problem, url_problem
from raftsched.definitions.fields import check_duration, check_enum, quoted
from raftsched.definitions.policies import MAX_DURATION_US
from raftsched.definitions.violations import Violations

MAX_HEADERS = 16
_FIELD = "task.notifications"
_NEEDS = {
    notification_pb2.OCCASION_LATE: "late_after",
    notification_pb2.OCCASION_MISSING: "report_within",
}


def check_notifications(violations: Violations, task: task_pb2.Task) -> None:
    """The notifications of a task that has some."""
    if not task.HasField("notifications"):
        return
    wanted = task.notifications
    if problem := url_problem(wanted.url):
        violations.add(f"{_FIELD}.url", problem)
    if not wanted.occasions:
        violations.add(f"{_FIELD}.occasions", "must name what to tell")
    for occasion in wanted.occasions:
        check_enum(violations, f"{_FIELD}.occasions", occasion, notification_pb2.Occasion.values()[1:])
    for occasion, field in _NEEDS.items():
        name = notification_pb2.Occasion.Name(occasion).removeprefix("OCCASION_")
        if wanted.HasField(field):  # type: ignore[arg-type]  # the stub wants a literal
            check_duration(violations, f"{_FIELD}.{field}", getattr(wanted, field), SECOND_US, MAX_DURATION_US)
        if (occasion in wanted.occasions) != wanted.HasField(field):  # type: ignore[arg-type]  # the stub wants a literal
            violations.add(f"{_FIELD}.{field}", f"goes with the occasion {name}, which needs it")
    _check_secrets(violations, wanted)


def _check_secrets(violations: Violations, wanted: notification_pb2.Notifications) -> None:
    if len(wanted.headers) > MAX_HEADERS:
        violations.add(f"{_FIELD}.headers", f"{len(wanted.headers)} headers; at most {MAX_HEADERS} are allowed")
    for name, value in wanted.headers.items():
        if problem := header_problem(name, value):
            violations.add(f"{_FIELD}.headers", problem)
    if wanted.signing_secret and references.malformed(f"${{secret:{wanted.signing_secret}}}"):
        violations.add(f"{_FIELD}.signing_secret", f"{quoted(wanted.signing_secret)} is no name of a secret")
    for field, text in references.texts(wanted):
        if wrong := references.malformed(text):
            violations.add(f"{_FIELD}.{field}", f"{quoted(wrong)} names no secret: write ${{secret:NAME}}")
