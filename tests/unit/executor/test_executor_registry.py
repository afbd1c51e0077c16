"""Which kinds of action an executor finds."""

from importlib.metadata import entry_points

from raftsched_proto.v1 import task_pb2

from raftsched.executor.actions import noop
from raftsched.executor.actions.registry import ENTRY_POINT_GROUP, EXTENSION


def test_every_kind_of_action_has_its_entry_point() -> None:
    kinds = {field.name for field in task_pb2.Action.DESCRIPTOR.oneofs_by_name["kind"].fields}
    own = {point.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.value.startswith("raftsched.")}
    assert own == kinds - {EXTENSION, noop.KIND}
