"""Stamps the leader's own commands and keeps a bounded number of them under way."""

from collections.abc import Callable

from raftsched_proto.internal.v1 import command_pb2 as pb

from raftsched.commands.envelope import Envelopes
from raftsched.ports import AgreedClock, Fate


class Proposer:
    """Proposes commands in the name of one leader in one term."""

    def __init__(self, envelopes: Envelopes, clock: AgreedClock, term: int, wake: Callable[[], None]) -> None:
        self._envelopes = envelopes
        self._clock = clock
        self._term = term
        self._wake = wake

    def command(self) -> pb.Command:
        """A command that carries the leader's clock, id and term, and nothing else yet."""
        return self._envelopes.command(self._term)

    def known_us(self) -> int:
        """What executors are told of the time; 0 while there is nothing to tell."""
        return self._clock.now_us() if self._clock.known else 0

    def propose(self, command: pb.Command, done: Callable[[Fate], None]) -> None:
        """Append the command; ``done`` is called once, after which there may be more to do.

        A refused command is proposed again by the next timed step, so that an overloaded log is not asked in a circle.
        """

        def finish(fate: Fate, _outcome: bytes) -> None:
            done(fate)
            if fate is Fate.DONE:
                self._wake()

        self._envelopes.propose(command, finish)
