"""Guards whose absence the simulation does not look for: why not, and the test that holds each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Elsewhere:
    """A guard that no row of ``mutations.py`` switches off."""

    guard: str
    why: str
    held_by: str
    """Module and name of a test."""


_UNIT = "tests/unit/consensus"
ELSEWHERE = [
    Elsewhere(
        "clusters of different foundings refuse each other",
        "the checkers hold one cluster against its own past, and a second one beside it is a violation by itself",
        f"{_UNIT}/test_doorway.py::test_a_directory_of_another_founding_is_refused_with_both_identities",
    ),
    Elsewhere(
        "a leader finds out who lacks what it acknowledged",
        "a second line for disks that are rolled back with no start since: it helps only while that leader leads",
        f"{_UNIT}/test_doorway.py::test_who_lacks_what_it_acknowledged_is_cut_and_told",
    ),
    Elsewhere(
        "a voter knows the entry that named it",
        "costs only liveness in a moment: its vote counts by the members of who asks",
        f"{_UNIT}/test_admission.py::test_a_learner_is_made_a_voter_once_it_has_caught_up",
    ),
    Elsewhere(
        "a committed entry is never cut; the node stops",
        "the conflict check keeps any append that would do it away; met only when another guard is off",
        f"{_UNIT}/test_replication.py::test_never_gives_up_a_committed_entry",
    ),
    Elsewhere(
        "one reset for each probe",
        "costs only liveness: several resets in flight make next index go back and forth, and the epoch "
        "drops the replies that would do more",
        f"{_UNIT}/test_replication.py::test_one_probe_is_reset_once",
    ),
    Elsewhere(
        "an acknowledgement never moves next index back",
        "costs only bandwidth: the follower skips what it has",
        f"{_UNIT}/test_replication.py::test_an_acknowledgement_never_moves_next_index_back",
    ),
    Elsewhere(
        "conflict hint",
        "costs only time: without it next index goes back by one entry for each reply",
        f"{_UNIT}/test_replication.py::test_probes_where_the_hint_says",
    ),
    Elsewhere(
        "votes are asked for again",
        "costs only liveness, and an election is repeated anyway after a timeout",
        f"{_UNIT}/test_elections.py::test_votes_are_asked_for_again_and_after_a_reconnect",
    ),
    Elsewhere(
        "the commit index alone forces no commit",
        "costs only speed",
        f"{_UNIT}/test_replication.py::test_commit_index_alone_never_reaches_the_disk",
    ),
    Elsewhere(
        "protobuf in place of pickles; no admin commands; unknown and oversized messages refused",
        "simulated peers send what real peers send: the attack comes over the network",
        "tests/integration/test_hostile_peers.py::test_malformed_messages_cost_the_link_and_nothing_else",
    ),
    Elsewhere(
        "a state machine or a callback that raises",
        "the simulated ones do not raise: the first ends the node, the second hurts nobody else",
        f"{_UNIT}/test_shard.py::test_a_callback_that_raises_hurts_nobody_else",
    ),
    Elsewhere(
        "a snapshot is one moment, checked, and installed in one commit",
        "the simulated disk has no half commit and no flipped bits",
        f"{_UNIT}/test_snapshot.py::test_a_crash_before_the_commit_leaves_what_was",
    ),
    Elsewhere(
        "what gathered leaves at the end of the step; bytes in flight are bounded",
        "costs only speed and memory",
        f"{_UNIT}/test_replication.py::test_what_is_in_flight_is_bounded",
    ),
    Elsewhere(
        "the engine's private names and its version",
        "a fact of the installed package, not of a run",
        f"{_UNIT}/test_engine.py::test_private_name_exists",
    ),
    Elsewhere(
        "no forwarding of commands",
        "the engine's forwarding is never called; that a call repeated after a restart is carried out once is the "
        "memory of request ids, which the simulation of the whole system switches off",
        f"{_UNIT}/test_replication.py::test_the_engine_s_own_reply_and_forwarding_never_leave",
    ),
]
