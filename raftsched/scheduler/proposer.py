"""Stamps the leader's own commands and keeps a bounded number of them under way."""

from collections.abc import Callable

from raftsched.core.machine import COMMAND_VERSION
from raftsched.internal.v1 import command_pb2 as pb
from raftsched.ports import Clock, Fate, Log


class Proposer:
    """Proposes commands in the name of one leader in one term."""

    def __init__(self, log: Log, clock: Clock, leader_id: str, term: int, wake: Callable[[], None]) -> None:
        self._log = log
        self._clock = clock
        self._leader_id = leader_id
        self._term = term
        self._wake = wake

    def command(self) -> pb.Command:
        """A command that carries the leader's clock, id and term, and nothing else yet."""
        return pb.Command(
            version=COMMAND_VERSION, now_us=self._clock.now_us(), leader_id=self._leader_id, term=self._term
        )

    def propose(self, command: pb.Command, done: Callable[[Fate], None]) -> None:
        """Append the command; ``done`` is called once, after which there may be more to do.

        A refused command is proposed again by the next timed step, so that an overloaded log is not asked in a circle.
        """

        def finish(fate: Fate, _outcome: bytes) -> None:
            done(fate)
            if fate is Fate.DONE:
                self._wake()

        self._log.propose(command.SerializeToString(), finish)
