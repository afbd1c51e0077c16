"""Who may call what: the table, and the identity behind it."""

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import FileDescriptor
from raftsched_proto.internal.v1 import attempt_pb2, check_pb2, command_pb2, executor_pb2, output_pb2, raft_pb2

from raftsched.api.door.health import SERVICE_NAMES
from raftsched.net.access import (
    CALLER,
    INTERNAL_RIGHTS,
    Denied,
    admitted,
    executor_problem,
    node_problem,
    roles_for,
)
from raftsched.net.identity import PeerIdentity, PeerRole

INTERNAL: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (attempt_pb2, check_pb2, command_pb2, executor_pb2, output_pb2, raft_pb2)
]


def internal_methods() -> Iterator[str]:
    for file in INTERNAL:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}"


@pytest.fixture
def calls_as() -> Iterator[object]:
    """Sets who calls."""
    token = CALLER.set(None)
    yield CALLER.set
    CALLER.reset(token)


def test_the_table_has_every_internal_method_and_no_other() -> None:
    assert set(internal_methods()) == set(INTERNAL_RIGHTS)


def test_the_internal_files_are_all_there_are() -> None:
    from pathlib import Path

    there = {path.name for path in Path(raft_pb2.__file__).parent.glob("*_pb2.py")}
    assert there == {file.name.rpartition("/")[2].replace(".proto", "_pb2.py") for file in INTERNAL}


def test_a_user_may_call_nothing_internal_and_an_executor_nothing_public() -> None:
    assert all(PeerRole.CLIENT not in roles for roles in INTERNAL_RIGHTS.values())
    for name in SERVICE_NAMES:
        assert roles_for(f"/{name}/Anything") == {PeerRole.NODE, PeerRole.CLIENT}


def test_nobody_may_call_what_no_table_names() -> None:
    for method in (
        "/raftsched.internal.v1.RaftService/Other",
        "/other.v1.Service/Get",
        "/grpc.channelz.v1.Channelz/Get",
    ):
        assert roles_for(method) == frozenset()


@pytest.mark.parametrize(
    ("uris", "message"),
    [
        ([], "names no identity"),
        (["raftsched://other/node/n1"], "another cluster"),
        (["raftsched://prod/executor/n1"], "role executor may not"),
        (["raftsched://prod/node/n1", "raftsched://other/node/n1"], "names no identity"),
        (["RAFTSCHED://prod/node/n1"], "names no identity"),
    ],
)
def test_a_refusal_names_its_class_and_no_more(uris: list[str], message: str) -> None:
    with pytest.raises(Denied, match=message) as refused:
        admitted(uris, "prod", frozenset({PeerRole.NODE}))
    assert "n1" not in str(refused.value)
    assert refused.value.reason


def test_without_certificates_everybody_is_believed(calls_as) -> None:
    calls_as(None)
    assert (node_problem("n1"), executor_problem("e1-0a1b2c3d", "")) == ("", "")


def test_a_node_is_believed_of_itself_and_its_executor_only(calls_as) -> None:
    calls_as(PeerIdentity("prod", PeerRole.NODE, "n1"))
    assert node_problem("n1") == executor_problem("n1-0a1b2c3d", "n1") == ""
    for problem in (node_problem("n2"), executor_problem("n1-0a1b2c3d", ""), executor_problem("e1-0a1b2c3d", "n1")):
        assert problem


def test_an_executor_is_no_node(calls_as) -> None:
    calls_as(PeerIdentity("prod", PeerRole.EXECUTOR, "n1"))
    assert node_problem("n1")
    assert executor_problem("n1-0a1b2c3d", "n1")
    assert executor_problem("n1-0a1b2c3d", "") == ""
