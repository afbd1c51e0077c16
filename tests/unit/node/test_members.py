"""The nodes of the cluster as one of them knows them, and who hears of a change."""

from raftsched.consensus.membership import Members
from raftsched.node.members import KnownMembers
from raftsched.ports import MemberList, Peer

A, B, C, X = (Peer(peer_id, f"{peer_id}:1") for peer_id in "abcx")


def test_before_anything_is_replicated_the_settings_count() -> None:
    members: MemberList = KnownMembers((C, A, B))
    assert members.current == (A, B, C)
    assert members.others("b") == (A, C)
    assert (members.address("c"), members.address("x"), members.address("")) == ("c:1", "", "")


def test_voters_and_learners_of_the_log_join_those_that_the_settings_name_and_leave_again() -> None:
    members = KnownMembers((A, B))
    members.take(Members((A, C), (X,)))
    assert members.current == (A, B, C, X)
    members.take(Members((A, C)))
    assert members.current == (A, B, C)
    assert members.address("x") == ""


def test_the_address_in_the_settings_goes_before_the_one_in_the_log() -> None:
    members = KnownMembers((A, Peer("b", "moved:1")))
    members.take(Members((A, B, C)))
    assert (members.address("b"), members.address("c")) == ("moved:1", "c:1")


def test_every_subscriber_is_called_in_order_once_for_each_change_and_sees_it() -> None:
    members = KnownMembers((A, B))
    heard: list[tuple[str, tuple[Peer, ...]]] = []
    for name in ("first", "second"):
        members.subscribe(lambda name=name: heard.append((name, members.current)))
    members.take(Members((A, B), (X,)))
    assert heard == [("first", (A, B, X)), ("second", (A, B, X))]
    heard.clear()
    # A learner that votes now, another directory of a voter: the same nodes at the same places.
    members.take(Members((A, B, X)))
    members.take(Members((A, Peer("b", "b:1", "another"), X)))
    assert heard == []
    members.take(Members((A, B)))
    assert heard == [("first", (A, B)), ("second", (A, B))]
