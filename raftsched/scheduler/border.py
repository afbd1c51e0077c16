"""What the leader accepts from the stream of an executor. Whoever reaches the port can open one: it is checked."""

from raftsched_proto.internal.v1 import command_pb2 as pb
from raftsched_proto.internal.v1 import executor_pb2 as xpb
from raftsched_proto.internal.v1.attempt_pb2 import AttemptResult

from raftsched.core.machine.wellformed import MAX_US
from raftsched.core.state.model import ExecutionState

MAX_ID_CHARACTERS = 200
MAX_SLOTS = 10_000
MAX_LABELS = 32
MAX_LABEL_CHARACTERS = 255
MAX_CAPABILITIES = 1_000
MAX_HELD = 100_000
MAX_ERROR_CHARACTERS = 1_000
MAX_TAIL_BYTES = 4 * 1024
_ID_BYTES = 16
_MAX_SIZE_BYTES = 1 << 62
_DIGEST_BYTES = 32


def hello_problem(hello: xpb.Hello) -> str:
    """Why an executor that introduces itself so is not admitted, or ""."""
    if not 0 < len(hello.executor_id) <= MAX_ID_CHARACTERS:
        return f"hello.executor_id has 1 to {MAX_ID_CHARACTERS} characters"
    if max(len(hello.incarnation), len(hello.node_id), len(hello.version)) > MAX_ID_CHARACTERS:
        return f"hello.incarnation, node_id and version have at most {MAX_ID_CHARACTERS} characters"
    if not 0 <= hello.slots <= MAX_SLOTS:
        return f"hello.slots is 0 to {MAX_SLOTS}"
    if not 0 <= hello.remote_slots <= MAX_SLOTS:
        return f"hello.remote_slots is 0 to {MAX_SLOTS}"
    if len(hello.labels) > MAX_LABELS:
        return f"hello.labels has at most {MAX_LABELS} labels"
    if any(max(len(key), len(value)) > MAX_LABEL_CHARACTERS for key, value in hello.labels.items()):
        return f"a label has at most {MAX_LABEL_CHARACTERS} characters"
    known = (hello.capabilities.action_kinds, hello.capabilities.callables)
    if any(len(names) > MAX_CAPABILITIES or any(len(name) > MAX_ID_CHARACTERS for name in names) for names in known):
        return (
            f"hello.capabilities has at most {MAX_CAPABILITIES} names each, of at most {MAX_ID_CHARACTERS} characters"
        )
    for name, keys in (("held", hello.held), ("armed", hello.armed)):
        if len(keys) > MAX_HELD or not all(map(_is_key, keys)):
            return f"hello.{name} has at most {MAX_HELD} keys, each with an execution id of {_ID_BYTES} bytes"
    return ""


def message_problem(message: xpb.ConnectRequest) -> str:
    """Why a later message of an executor ends its stream, or ""."""
    kind = message.WhichOneof("kind")
    if kind not in ("heartbeat", "reports", "output", "output_copied"):
        return f"a message of kind {kind} is not expected"
    if kind == "reports" and not all(_is_key(report.key) for report in message.reports.items):
        return f"reports.items.key.execution_id has {_ID_BYTES} bytes"
    if kind == "output_copied":
        copied = message.output_copied
        if not _is_key(copied.key) or not 0 < len(copied.node_id) <= MAX_ID_CHARACTERS:
            return f"output_copied has an execution id of {_ID_BYTES} bytes and a node_id"
    return ""


def report_item(executor_id: str, report: xpb.AttemptReport) -> pb.Report.Item:
    """What the log is told of a report, with all that it says within the bounds that our executors keep."""
    item = pb.Report.Item(
        id=report.key.execution_id, attempt=report.key.attempt, executor_id=executor_id, state=report.state
    )
    if report.state == ExecutionState.PENDING:
        item.fencing_token = max(0, report.fencing_token)
        return item
    result = item.result
    result.CopyFrom(report.result)
    _bound(result)
    # 0 is the exit code of success: what did not succeed has none, whatever its executor says.
    if not result.exit_code and report.state != ExecutionState.SUCCEEDED:
        result.ClearField("exit_code")
    return item


def _bound(result: AttemptResult) -> None:
    # What is not a field of ours has no bound that could be kept.
    result.DiscardUnknownFields()
    # Setting a field costs more than looking at it, and next to none is out of its bounds.
    if not 0 <= result.start_us <= MAX_US:
        result.start_us = min(max(result.start_us, 0), MAX_US)
    if not 0 <= result.end_us <= MAX_US:
        result.end_us = min(max(result.end_us, 0), MAX_US)
    if not 0 <= result.output_size_bytes <= _MAX_SIZE_BYTES:
        result.output_size_bytes = min(max(result.output_size_bytes, 0), _MAX_SIZE_BYTES)
    if not 0 <= result.output_stored_bytes <= _MAX_SIZE_BYTES:
        result.output_stored_bytes = min(max(result.output_stored_bytes, 0), _MAX_SIZE_BYTES)
    if len(result.error) > MAX_ERROR_CHARACTERS:
        result.error = result.error[:MAX_ERROR_CHARACTERS]
    if len(result.output_tail) > MAX_TAIL_BYTES:
        result.output_tail = result.output_tail[-MAX_TAIL_BYTES:]
    if len(result.output_sha256) > _DIGEST_BYTES:
        result.output_sha256 = result.output_sha256[:_DIGEST_BYTES]


def _is_key(key: xpb.AttemptKey) -> bool:
    return len(key.execution_id) == _ID_BYTES
