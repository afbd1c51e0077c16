"""The time that a majority of the voters agrees on: no single wall clock decides.

Every node asks every other one for its wall clock about once a second. What it learns is a bound, not a point: the peer
read its clock between the question and the answer (Cristian, "Probabilistic clock synchronization", 1989). Of these
intervals, and the node's own clock, it takes the region that a majority of the voters agrees on (Marzullo's algorithm,
as NTP selects its sources, RFC 5905 11.2.1). Between two looks, and for a while without a majority, time goes on with
the clock that does not step.

No I/O: whoever asks the peers passes on what they said.
"""

from collections.abc import Callable
from dataclasses import dataclass

from raftsched.ports import Clock, ClockStatus

TOLERANCE_US = 250_000
"""How far a clock may be from the time that it agrees with. Two that agree differ by at most twice as much."""
LARGEST_OFFSET_US = 500_000
"""A node whose own clock is further off has a problem, and a leader hands over."""
STEP_US = 500_000
"""The agreed time follows smaller differences by slewing; larger ones only when they last."""
SLEW = 0.05
"""Seconds in a second by which the agreed time runs faster or slower until a difference is gone."""
CONFIRM_S = 10.0
"""For so long a majority has to agree on another time before the agreed time jumps."""
HOLDOVER_S = 600.0
"""Without a majority that agrees, time goes on by the clock that does not step for so long; then nothing is decided."""
SAMPLE_LIFE_S = 5.0
"""What a peer said about its clock counts for so long."""
LOOK_S = 0.2
DRIFT = 500e-6
"""By how much a clock may gain or lose on another: what NTP allows a clock to be slewed (RFC 5905, MAXFREQ)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the offset of a clock from this node's unstepping one lies, in microseconds, as of a moment."""

    low_us: int
    high_us: int
    at_s: float

    @property
    def middle_us(self) -> int:
        """The best guess."""
        return (self.low_us + self.high_us) // 2

    def aged(self, now_s: float) -> "Bounds":
        """What is left of it at a later moment: clocks drift."""
        widening = round((now_s - self.at_s) * DRIFT * 1e6)
        return Bounds(self.low_us - widening, self.high_us + widening, now_s)

    def narrowed(self, newer: "Bounds") -> "Bounds":
        """Both together; the newer alone when they contradict each other, since then the clock has stepped."""
        older = self.aged(newer.at_s)
        low_us, high_us = max(older.low_us, newer.low_us), min(older.high_us, newer.high_us)
        return Bounds(low_us, high_us, newer.at_s) if low_us <= high_us else newer


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a majority agrees on."""

    offset_us: int
    """Of the agreed time from this node's unstepping clock: the median of those that agree."""
    error_us: int
    """How far off that may be, if at most a minority lies."""
    node_ids: frozenset[str]
    """Whose clocks agree."""


def agree(sources: dict[str, Bounds], quorum: int, near_us: int | None = None) -> Agreement | None:
    """The time that ``quorum`` of the sources agree on; None when no so many do.

    Where two groups are equally large, the one that is nearer to ``near_us``, or the earlier one, is taken.
    """
    edges = sorted(
        edge
        for bounds in sources.values()
        for edge in ((bounds.low_us - TOLERANCE_US, -1), (bounds.high_us + TOLERANCE_US, 1))
    )
    best: Agreement | None = None
    depth = 0
    for position, (at_us, kind) in enumerate(edges):
        depth -= kind
        closes = kind < 0 and position + 1 < len(edges) and edges[position + 1][1] > 0
        if not closes or depth < quorum or (best is not None and depth < len(best.node_ids)):
            continue
        found = _agreed(sources, at_us, edges[position + 1][0])
        if best is None or depth > len(best.node_ids) or _is_nearer(found, best, near_us):
            best = found
    return best


def _agreed(sources: dict[str, Bounds], low_us: int, high_us: int) -> Agreement:
    agreeing = {
        node_id: bounds
        for node_id, bounds in sources.items()
        if bounds.low_us - TOLERANCE_US <= low_us and bounds.high_us + TOLERANCE_US >= high_us
    }
    middles = sorted(bounds.middle_us for bounds in agreeing.values())
    half = len(middles) // 2
    median = middles[half] if len(middles) % 2 else (middles[half - 1] + middles[half]) // 2
    # Among those that agree at least one tells the truth, and none is further from the region than its own bounds.
    error_us = max(max(abs(bounds.low_us - median), abs(bounds.high_us - median)) for bounds in agreeing.values())
    return Agreement(median, error_us, frozenset(agreeing))


def _is_nearer(found: Agreement, best: Agreement, near_us: int | None) -> bool:
    return near_us is not None and abs(found.offset_us - near_us) < abs(best.offset_us - near_us)


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a node knows of time from before it was started."""

    now_us: int = 0
    """What the agreed time is now, if the machine has run on since; 0: not known."""
    not_before_us: int = 0
    """What it was when it was last seen."""


class ClusterTime:
    """Implements ``raftsched.ports.AgreedClock`` for one node."""

    def __init__(
        self,
        clock: Clock,
        node_id: str,
        voters: Callable[[], tuple[str, ...]],
        resumed: Resumed | None = None,
    ) -> None:
        """``voters`` gives the ids of the voters in force; ``resumed``, as of now, counts for the only voter alone."""
        self._clock = clock
        self._node_id = node_id
        self._voters = voters
        self._resumed = resumed or Resumed()
        self._resumed_at_us = round(clock.monotonic() * 1e6)
        self._peers: dict[str, Bounds] = {}
        self._offset_us: int | None = None
        self._agreement: Agreement | None = None
        self._agreed_at_s = 0.0
        self._looked_at_s = float("-inf")
        self._waits_for: tuple[float, int] | None = None
        """Since when a majority agrees on another time, and on which offset."""
        self._confirmed = False
        self.stepped_at_s = float("-inf")
        """When the agreed time jumped last, or was first known, on the clock that does not step."""

    # Clock

    def now_us(self) -> int:
        """The agreed time, in microseconds since the Unix epoch; the node's own clock while ``known`` is false."""
        now_s = self._clock.monotonic()
        self._look(now_s)
        return self._clock.now_us() if self._offset_us is None else self._offset_us + round(now_s * 1e6)

    def known_us(self) -> int:
        """The agreed time, in microseconds since the Unix epoch; 0 while ``known`` is false."""
        return self.now_us() if self.known else 0

    def monotonic(self) -> float:
        """See Clock."""
        return self._clock.monotonic()

    def uniform(self, low: float, high: float) -> float:
        """See Clock."""
        return self._clock.uniform(low, high)

    def token(self) -> str:
        """See Clock."""
        return self._clock.token()

    # What peers say

    def heard(self, peer_id: str, wall_us: int, asked_at_s: float) -> None:
        """A peer answered with its wall clock, now, what it was asked at ``asked_at_s``."""
        now_s = self._clock.monotonic()
        bounds = Bounds(wall_us - round(now_s * 1e6), wall_us - round(asked_at_s * 1e6), now_s)
        known = self._peers.get(peer_id)
        fresh = known is not None and now_s - known.at_s <= SAMPLE_LIFE_S
        self._peers[peer_id] = known.narrowed(bounds) if known is not None and fresh else bounds
        self._look(now_s)

    # What it is good for

    @property
    def known(self) -> bool:
        """Whether a majority has ever agreed since the start."""
        self._look(self._clock.monotonic())
        return self._offset_us is not None

    @property
    def certain(self) -> bool:
        """Whether nominal times may be decided by it."""
        now_s = self._clock.monotonic()
        self._look(now_s)
        return self._offset_us is not None and now_s - self._agreed_at_s <= HOLDOVER_S

    @property
    def own_offset_us(self) -> int:
        """How far this node's wall clock is ahead of the agreed time; 0 while that is not known."""
        return 0 if self._offset_us is None else self._wall_offset_us(self._clock.monotonic()) - self._offset_us

    def better_placed(self) -> tuple[str, ...]:
        """While this node's own clock is not of the majority: the other voters whose clock is.

        None are while all jump together, and the agreed time waits for that to last: they would hand over in a circle.
        """
        if abs(self.own_offset_us) <= LARGEST_OFFSET_US or self._agreement is None:
            return ()
        if self._node_id in self._agreement.node_ids:
            return ()
        return tuple(sorted(self._agreement.node_ids - {self._node_id}))

    def confirm(self) -> bool:
        """Take the wall clock of this machine as it is, if it is the only voter of its cluster; else False."""
        if self._voters() != (self._node_id,):
            return False
        self._confirmed = True
        self._looked_at_s = float("-inf")
        self._look(self._clock.monotonic())
        return True

    def status(self) -> ClockStatus:
        """What this node knows of time."""
        now_s = self._clock.monotonic()
        self._look(now_s)
        agreement = self._agreement
        since_s = now_s - self._agreed_at_s
        error_us = 0 if agreement is None else agreement.error_us + round(since_s * DRIFT * 1e6)
        return ClockStatus(
            known=self._offset_us is not None,
            certain=self.certain,
            offset_us=self.own_offset_us,
            error_us=error_us,
            agreeing=tuple(sorted(agreement.node_ids)) if agreement is not None and since_s <= SAMPLE_LIFE_S else (),
            problem=self._problem(now_s),
        )

    # How it is found

    def _wall_offset_us(self, now_s: float) -> int:
        return self._clock.now_us() - round(now_s * 1e6)

    def _look(self, now_s: float) -> None:
        since_s = now_s - self._looked_at_s
        if since_s < LOOK_S:
            return
        self._looked_at_s = now_s
        voters = self._voters()
        sources = {
            peer_id: bounds.aged(now_s)
            for peer_id, bounds in self._peers.items()
            if peer_id in voters and now_s - bounds.at_s <= SAMPLE_LIFE_S
        }
        if self._node_id in voters:
            own_us = self._wall_offset_us(now_s)
            sources[self._node_id] = Bounds(own_us, own_us, now_s)
        agreement = agree(sources, len(voters) // 2 + 1, self._offset_us)
        if agreement is None:
            self._waits_for = None
            return
        self._agreement, self._agreed_at_s = agreement, now_s
        if self._offset_us is None:
            if len(agreement.node_ids) == len(sources) or self._is_lasting(agreement.offset_us, now_s, SAMPLE_LIFE_S):
                self._begin(agreement.offset_us, now_s, alone=len(voters) == 1)
        else:
            self._follow(agreement.offset_us, now_s, since_s, alone=len(voters) == 1)

    def _begin(self, agreed_us: int, now_s: float, *, alone: bool) -> None:
        """The first time that is known. The only voter has nobody to agree with but itself before it was restarted."""
        offset_us = agreed_us
        if alone and not self._confirmed:
            if self._resumed.now_us:
                offset_us = self._resumed.now_us - self._resumed_at_us
            offset_us = max(offset_us, self._resumed.not_before_us - self._resumed_at_us)
        self._offset_us = offset_us
        self.stepped_at_s = now_s
        self._confirmed = False
        self._waits_for = None

    def _follow(self, agreed_us: int, now_s: float, since_s: float, *, alone: bool) -> None:
        assert self._offset_us is not None
        difference_us = agreed_us - self._offset_us
        if abs(difference_us) <= STEP_US and not self._confirmed:
            largest_us = round(SLEW * since_s * 1e6)
            self._offset_us += max(-largest_us, min(largest_us, difference_us))
            self._waits_for = None
        elif self._confirmed or (self._is_lasting(agreed_us, now_s, CONFIRM_S) and not alone):
            self._offset_us = agreed_us
            self.stepped_at_s = now_s
            self._waits_for = None
            self._confirmed = False

    def _is_lasting(self, agreed_us: int, now_s: float, for_s: float) -> bool:
        """Whether a majority has agreed on that time for so long.

        A node that starts waits for it when a voter disagrees: then what each has said counts no more unless it was
        said again, so that no two majorities are put together from different moments.
        """
        if self._waits_for is None or abs(agreed_us - self._waits_for[1]) > STEP_US:
            self._waits_for = (now_s, agreed_us)
        return now_s - self._waits_for[0] >= for_s

    def _problem(self, now_s: float) -> str:
        if self._offset_us is None:
            return (
                f"no majority of the nodes agrees on the time{self._disagreement(now_s)}: nothing is decided and no "
                "change is taken until a majority of the clocks agrees. Set the clocks right (NTP)"
            )
        ahead_us = self.own_offset_us
        direction = "ahead of" if ahead_us > 0 else "behind"
        amount = f"{abs(ahead_us) / 1e6:.1f} s"
        if self._voters() == (self._node_id,):
            if abs(ahead_us) <= STEP_US:
                return ""
            return (
                f"the clock of this machine has stepped: it is {amount} {direction} the time that has passed. Tasks go "
                "on by the time that has passed. If the clock is right now, say so: raftsched cluster confirm-clock"
            )
        without_s = now_s - self._agreed_at_s
        if without_s > HOLDOVER_S:
            return (
                f"no majority of the nodes has agreed on the time for {without_s:.0f} s{self._disagreement(now_s)}: "
                "nothing is decided until a majority of the clocks agrees. Set the clocks right (NTP)"
            )
        if without_s > SAMPLE_LIFE_S:
            left_s = HOLDOVER_S - without_s
            return (
                f"no majority of the nodes agrees on the time{self._disagreement(now_s)}: time goes on by the last "
                f"that was agreed, and in {left_s:.0f} s nothing will be decided any more. Set the clocks right (NTP)"
            )
        if abs(ahead_us) > LARGEST_OFFSET_US:
            return (
                f"the clock of this machine is {amount} {direction} that of the majority, which counts. Set it right "
                "(NTP)"
            )
        return ""

    def _disagreement(self, now_s: float) -> str:
        """By how much the clocks differ from this machine's, as far as they are known."""
        own_us = self._wall_offset_us(now_s)
        parts = []
        for node_id in self._voters():
            bounds = self._peers.get(node_id)
            if node_id == self._node_id:
                continue
            if bounds is None or now_s - bounds.at_s > SAMPLE_LIFE_S:
                parts.append(f"{node_id} is not heard of")
            else:
                parts.append(f"{node_id} is at {(bounds.middle_us - own_us) / 1e6:+.1f} s")
        return f" (as seen from {self._node_id}: {', '.join(parts)})" if parts else ""
