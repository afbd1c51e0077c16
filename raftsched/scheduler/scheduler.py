"""The leader's work as one object without I/O of its own: it is stepped, and told what happened."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from raftsched_proto.internal.v1 import executor_pb2 as xpb

from raftsched.commands.envelope import Envelopes
from raftsched.commands.gate import Gate
from raftsched.core.state.rows import ExecutionRow
from raftsched.ports import AgreedClock, Log, MemberList, Reader, Store, Table
from raftsched.scheduler import waking
from raftsched.scheduler.arming import Armer
from raftsched.scheduler.assigned import Assigned
from raftsched.scheduler.dispatch import Dispatcher, cancel_message, withdraw_message
from raftsched.scheduler.executors import AttemptKey, ExecutorLink, Executors, ExecutorSession
from raftsched.scheduler.firing import Firer
from raftsched.scheduler.hand_over import HandOver
from raftsched.scheduler.held import HeldAttempts
from raftsched.scheduler.leases import Leases
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.repair import CursorRepair
from raftsched.scheduler.reports import Reporter
from raftsched.scheduler.retention import Retention
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache
from raftsched.scheduler.waiting import Explainer

_LONGEST_STEP_S = 0.2
_UNKNOWN_TIME_STEP_S = 0.02


class Scheduler:
    """The leader's work during one term. A new one is made for each term that this node leads."""

    def __init__(
        self,
        *,
        log: Log,
        store: Store,
        clock: AgreedClock,
        node_id: str,
        term: int,
        wake: Callable[[], None],
        settings: SchedulerSettings,
        gate: Gate,
        members: MemberList,
    ) -> None:
        """``members`` take second copies of outputs."""
        self._members = members
        self.term = term
        self.executors = Executors(node_id)
        self._store = store
        self._clock = clock
        self._settings = settings
        self._wake = wake
        self._tasks = TaskCache()
        self._proposer = proposer = Proposer(Envelopes(log, clock, node_id, gate), clock, term, wake)
        under_way: set[bytes] = set()
        self._firer = Firer(proposer, clock, self.executors, self._tasks, settings, under_way)
        self._armer = Armer(proposer, clock, self.executors, self._tasks, settings, gate, under_way)
        self._reporter = reporter = Reporter(proposer, clock, self.executors, settings)
        self._dispatcher = Dispatcher(proposer, self.executors, self._tasks, settings, reporter.given_back)
        self._wakers = (waking.executions(proposer, settings), waking.watches(proposer, settings))
        self._leases = Leases(proposer, settings.lease_ms, settings.reconcile_interval_s)
        self._retention = Retention(proposer, clock, settings)
        self._repair = CursorRepair(proposer, clock)
        self._hand_over = HandOver(log, clock)
        self._looked_up: list[HeldAttempts] = []
        """Of executors that are about to be connected."""
        with store.read() as reader:
            self._assigned = Assigned(reader)
        self._began_s = self._reconcile_s = clock.monotonic()

    def stop(self) -> None:
        """End the term: every executor is sent away to find the next leader."""
        for session in list(self.executors):
            session.link.close()

    def step(self) -> float:
        """Do what there is to do; returns the seconds until the next step is due unless something wakes it.

        What is decided waits until a majority of the nodes agrees on the time, and what carries a time at all until one
        has ever agreed since this node was started.
        """
        if not self._clock.known:
            return _UNKNOWN_TIME_STEP_S
        now_s, decides = self._clock.monotonic(), self._clock.certain
        self._hand_over.step(now_s)
        self.executors.adapt_bursts(now_s)
        self.executors.start_armed(self._clock.now_us())
        with self._store.read() as reader:
            patience_s = self._patience_s(reader)
            if not patience_s:
                # Before what fires now, which may depend on an end.
                self._reporter.step()
            if decides:
                for waker in self._wakers:
                    waker.step(reader)
            # What waits comes before what is new.
            self._dispatcher.assign_pending(reader)
            if decides:
                self._firer.step(reader)
                self._armer.step(reader)
            if now_s >= self._reconcile_s:
                self._reconcile_s = now_s + self._settings.reconcile_interval_s
                self._end_leases(now_s)
                self._dispatcher.reconcile(reader, self._assigned)
                self._dispatcher.look_again(reader)
                if decides:
                    self._repair.step(reader, now_s)
            if decides:
                self._retention.step(reader, now_s)
            waiting = (self._firer, self._armer, *self._wakers)
            due_us = [time_us for each in waiting if (time_us := each.next_due_us(reader))]
        longest_s = patience_s or _LONGEST_STEP_S
        if not due_us or not decides:
            return longest_s
        return min(longest_s, max(0.0, (min(due_us) - self._clock.now_us()) / 1e6))

    def _patience_s(self, reader: Reader) -> float:
        """How long reports may wait for a Fire command, which follows within that time; 0 when they may not.

        An execution that waits may wait for what they report: a slot, or its turn in a group or a queue.
        """
        patience_s = self._reporter.patience_s()
        if not patience_s or reader.count(Table.PENDING) or reader.count(Table.HELD):
            return 0.0
        may_wait = not self._reporter.is_waited_for or self._firer.follows_within(reader, patience_s)
        return patience_s if may_wait else 0.0

    def applied(self, executions: Iterable[tuple[bytes, ExecutionRow]], tasks: Iterable[str]) -> None:
        """Called after each commit with what it changed."""
        for name in tasks:
            self._tasks.forget(name)
        changed = dict(executions)
        self._assigned.follow(changed.items())
        for held in self._looked_up:
            held.forget(changed)
        with self._store.read() as reader:
            self._dispatcher.follow(reader, changed)
        self._wake()

    @contextmanager
    def look_up(self, hello: xpb.Hello) -> Iterator[HeldAttempts]:
        """What an executor holds that introduces itself, until it is connected: kept true by what is applied."""
        keys = ((key.execution_id, key.attempt) for key in (*hello.held, *hello.armed))
        held = HeldAttempts(hello.executor_id, keys, self._tasks)
        self._looked_up.append(held)
        try:
            yield held
        finally:
            self._looked_up.remove(held)

    def connect(self, hello: xpb.Hello, held: HeldAttempts, link: ExecutorLink) -> ExecutorSession:
        """Admit an executor: it is welcomed, told what is no longer its own, and sent what it lacks."""
        session = ExecutorSession(
            executor_id=hello.executor_id,
            incarnation=hello.incarnation,
            labels=dict(hello.labels),
            slots=hello.slots,
            remote_slots=hello.remote_slots,
            node_id=hello.node_id,
            version=hello.version,
            link=link,
            draining=hello.draining,
            capabilities=hello.capabilities if hello.HasField("capabilities") else None,
            arms=hello.arms,
        )
        self.executors.add(session)
        self._leases.renew(session.executor_id, self._clock.monotonic())
        welcome = self._welcome()
        cancelled: list[AttemptKey] = []
        withdrawn: list[tuple[AttemptKey, int]] = []
        with self._store.read() as reader:
            for key, attempt in held.all(reader):
                if attempt is None:
                    welcome.welcome.revoked.add(execution_id=key[0], attempt=key[1])
                    continue
                session.give(key, attempt.fencing_token, slot=attempt.slot, start_us=attempt.start_us)
                if attempt.withdrawn:
                    withdrawn.append((key, attempt.fencing_token))
                elif attempt.cancelled:
                    cancelled.append(key)
        link.send(welcome)
        if cancelled:
            link.send(cancel_message(cancelled))
        if withdrawn:
            link.send(withdraw_message(withdrawn))
        self._reconcile_s = 0.0
        self._wake()
        return session

    def _welcome(self) -> xpb.ConnectResponse:
        message = xpb.ConnectResponse()
        welcome = message.welcome
        welcome.term = self.term
        welcome.lease_ms = self._settings.lease_ms
        welcome.armed_lease_ms = self._settings.armed_lease_ms
        welcome.heartbeat_interval_ms = self._settings.heartbeat_interval_ms
        welcome.now_us = self._proposer.known_us()
        welcome.copy_nodes.extend(self._copy_nodes())
        return message

    def tell_copy_nodes(self) -> None:
        """The members have changed."""
        message = xpb.ConnectResponse(copy_nodes=xpb.CopyNodes(nodes=self._copy_nodes()))
        for session in self.executors:
            session.link.send(message)

    def _copy_nodes(self) -> list[xpb.CopyNode]:
        return [xpb.CopyNode(id=member.id, address=member.address) for member in self._members.current]

    def receive(self, session: ExecutorSession, message: xpb.ConnectRequest) -> None:
        """Take a message of a connected executor, other than Hello and Output."""
        self._leases.renew(session.executor_id, self._clock.monotonic())
        match message.WhichOneof("kind"):
            case "heartbeat":
                session.draining = message.heartbeat.draining
                # Only what is known: a message may carry fields of any size that are not.
                answer = xpb.Heartbeat(sequence=message.heartbeat.sequence, now_us=self._proposer.known_us())
                session.link.send(xpb.ConnectResponse(heartbeat=answer))
            case "reports":
                reports = message.reports
                if not self._reporter.take(session.executor_id, reports.items, unhurried=reports.unhurried):
                    session.link.close()
                self._wake()
            case "output_copied":
                self._reporter.take_copied(session.executor_id, message.output_copied)
                self._wake()
            case _:
                session.link.close()

    def disconnected(self) -> list[str]:
        """Executors that are not connected and may still come back before their lease runs out."""
        return [executor_id for executor_id in self._leases.holders() if self.executors.get(executor_id) is None]

    def settling_s(self) -> float:
        """For how long yet executors may be on their way back to this leader, which is new; 0: no longer."""
        return max(0.0, self._began_s + self._settings.lease_ms / 1000 - self._clock.monotonic())

    def explainer(self, reader: Reader) -> Explainer:
        """What says why executions of this view wait."""
        return Explainer(reader, self.executors, self._tasks.get, self._clock.now_us(), self.settling_s())

    def disconnect(self, session: ExecutorSession) -> None:
        """The stream is down. The executor keeps its attempts until its lease runs out."""
        self.executors.remove(session)

    def _end_leases(self, now_s: float) -> None:
        for executor_id in self._leases.expire(self._assigned, now_s):
            session = self.executors.get(executor_id)
            if session is not None:
                session.link.close()
                self.executors.remove(session)
            self.executors.forget(executor_id)
