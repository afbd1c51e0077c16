"""Timing and bounds of a shard."""

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20
MAX_COMMAND_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Settings:
    """Timing and bounds of a shard. All nodes of a shard should use the same."""

    election_timeout_min_s: float = 0.7
    """A follower that has heard from a leader more recently refuses to vote; the shortest wait before it stands."""
    election_timeout_max_s: float = 1.4
    """The longest wait before it stands; a leader that no majority answered for so long steps down."""
    heartbeat_s: float = 0.1
    batch_bytes: int = 512 * KIB
    """Entries in one append; one larger entry goes alone."""
    in_flight_bytes: int = 8 * MIB
    """Entries sent to one peer and not answered; beyond, the peer gets heartbeats only."""
    max_command_bytes: int = MAX_COMMAND_BYTES
    max_proposals: int = 8192
    """Commands that are proposed and not applied; beyond, OVERLOADED."""
    max_proposal_bytes: int = 64 * MIB
    gather_s: float = 0.02
    """While commands are on their way to the followers, new ones gather for at most so long to share a round."""
    gather_bytes: int = 16 * KIB
    """With so much gathered they leave at once."""
    proposal_deadline_s: float = 5.0
    """After it, a proposal or a read ends as UNKNOWN."""
    max_reads: int = 65_536
    """Reads that wait; beyond, OVERLOADED."""
    log_keep_entries: int = 10_000
    """Applied entries that are kept for followers that lag."""
    log_keep_bytes: int = 32 * MIB
    log_hard_factor: int = 4
    """The log grows to so many times that while a connected follower needs it; beyond, that one gets a snapshot."""
    max_unapplied_bytes: int = 64 * MIB
    """Committed entries that a follower has not applied; beyond, it takes no more."""
    apply_budget_s: float = 0.02
    """Applying yields to messages and timers after so long."""
    apply_commit_delay_s: float = 0.1
    """What a follower applied is committed at the latest after so long: nobody waits for it."""
    max_inbound_bytes: int = 64 * MIB
    """Messages of one peer that wait for the next tick; beyond, its link is cut."""
    snapshot_chunk_bytes: int = 256 * KIB
    learner_lag_entries: int = 100
    """A learner that lacks more than so many entries has not caught up, and is not made a voter."""
    farewell_s: float = 10.0
    """A removed node gets entries for so long, the one that removes it among them."""

    def __post_init__(self) -> None:
        if not 3 * self.heartbeat_s < self.election_timeout_min_s < self.election_timeout_max_s:
            raise ValueError("the election timeout must be over three heartbeats, and its maximum over its minimum")
