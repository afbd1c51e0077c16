"""What a webhook gets: a CloudEvent in JSON, signed by Standard Webhooks."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.v1 import notification_pb2

from raftsched.core.state import ids
from raftsched.core.state.model import ExecutionState

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: dict[int, str] = {
    notification_pb2.OCCASION_FAILURE: "raftsched.execution.failed",
    notification_pb2.OCCASION_LOST: "raftsched.execution.lost",
    notification_pb2.OCCASION_SKIPPED: "raftsched.nominal_time.skipped",
    notification_pb2.OCCASION_LATE: "raftsched.execution.late",
    notification_pb2.OCCASION_MISSING: "raftsched.execution.missing",
}
_KEY_PREFIX = "whsec_"


def event_id(execution_id: bytes, occasion: int) -> str:
    """The same at every delivery of a notice; of the execution id and the occasion."""
    name = notification_pb2.Occasion.DESCRIPTOR.values_by_number[occasion].name.removeprefix("OCCASION_").lower()
    return f"{ids.to_text(execution_id)}-{name}"


def render(execution_id: bytes, notice: pb.NoticeRow, cluster_id: str) -> bytes:
    """The event (CloudEvents 1.0, JSON event format, structured mode)."""
    data: dict[str, object] = {
        "task": notice.task,
        "executionId": ids.to_text(execution_id),
        "nominalTime": _text(notice.nominal_us),
        "error": notice.result.error,
    }
    if notice.count != 1:
        data["lastNominalTime"] = _text(notice.last_nominal_us)
        data["count"] = notice.count
    if notice.state:
        data |= {
            "state": ExecutionState(notice.state).name,
            "attempt": notice.attempt,
            "executorId": notice.executor_id,
        }
        data |= {key: _text(us) for key, us in _times(notice) if us}
        if notice.result.HasField("exit_code"):
            data["exitCode"] = notice.result.exit_code
        if notice.result.HasField("http_status"):
            data["httpStatus"] = notice.result.http_status
    event = {
        "specversion": "1.0",
        "id": event_id(execution_id, notice.occasion),
        "source": f"/raftsched/{cluster_id}",
        "type": _TYPES.get(notice.occasion, "raftsched.unknown"),
        "subject": notice.task,
        "time": _text(notice.create_us),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False).encode()


def _times(notice: pb.NoticeRow) -> tuple[tuple[str, int], ...]:
    return (
        ("firstStartTime", notice.first_start_us),
        ("startTime", notice.result.start_us),
        ("endTime", notice.result.end_us),
    )


def signature_headers(id_: str, timestamp_s: int, body: bytes, secret: str) -> dict[str, str]:
    """Headers by the specification of Standard Webhooks, with the symmetric scheme (HMAC-SHA256).

    A secret of the form ``whsec_...`` is base64 behind that; any other is taken as it is.
    """
    key = base64.b64decode(secret.removeprefix(_KEY_PREFIX)) if secret.startswith(_KEY_PREFIX) else secret.encode()
    signed = b"%s.%d.%s" % (id_.encode(), timestamp_s, body)
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-signature": f"v1,{digest}"}


def _text(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
