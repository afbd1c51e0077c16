"""How open files are shared out."""

import pytest

from raftsched.node.open_files import Shares, share, told

WANTED = Shares(slots=32, remote_slots=200, http_connections=2_000, grpc_connections=4_000)


@pytest.mark.parametrize("files", [0, 64, 128, 200, 256, 1_024, 4_096, 65_536])
@pytest.mark.parametrize("others", [0, 2, 6])
def test_all_get_something_and_together_no_more_than_there_is(files: int, others: int) -> None:
    given = share(files, WANTED, others=others)
    assert given.slots >= 1
    assert given.remote_slots >= 1
    assert given.http_connections >= 16
    assert given.grpc_connections >= 16 + 4 * others
    used = 3 * given.slots + given.remote_slots + given.http_connections + given.grpc_connections
    fewest = 3 + 1 + 16 + 16 + 4 * others
    assert used <= max(files - 64 - 6 * others, fewest)


def test_slots_come_first() -> None:
    assert share(200, WANTED) == Shares(slots=32, remote_slots=4, http_connections=18, grpc_connections=18)
    assert share(200, WANTED, others=2).slots == 27
    assert share(1_024, WANTED, others=2).slots == 32


def test_with_enough_files_all_is_as_it_was_set() -> None:
    assert share(65_536, WANTED, others=6) == WANTED


def test_a_node_without_slots_and_http_has_none() -> None:
    given = share(1_024, Shares(0, 200, 0, 4_000))
    assert (given.slots, given.http_connections) == (0, 0)
    assert given.grpc_connections > 300


def test_an_operator_is_told_of_slots_that_are_not_there() -> None:
    assert told(65_536, WANTED, WANTED) == ""
    assert "27 of 32 slots" in told(200, WANTED, share(200, WANTED, others=2))
