"""The leader's work as one object without I/O of its own: it is stepped, and told what happened."""

from collections.abc import Callable, Iterable

from raftsched.core.rows import ExecutionRow
from raftsched.internal.v1 import executor_pb2 as xpb
from raftsched.ports import Clock, Log, Reader, Store, Table
from raftsched.scheduler import waking
from raftsched.scheduler.dispatch import Dispatcher, cancel_message
from raftsched.scheduler.executors import AttemptKey, ExecutorLink, Executors, Session
from raftsched.scheduler.firing import Firer
from raftsched.scheduler.leases import Leases, survey
from raftsched.scheduler.proposer import Proposer
from raftsched.scheduler.reports import Reporter
from raftsched.scheduler.retention import Retention
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.scheduler.task_cache import TaskCache

_LONGEST_STEP_S = 0.2


class Scheduler:
    """The leader's work during one term. A new one is made for each term that this node leads."""

    def __init__(
        self,
        *,
        log: Log,
        store: Store,
        clock: Clock,
        node_id: str,
        term: int,
        wake: Callable[[], None],
        settings: SchedulerSettings,
    ) -> None:
        self.term = term
        self.executors = Executors(node_id)
        self._store = store
        self._clock = clock
        self._settings = settings
        self._wake = wake
        self._tasks = TaskCache()
        proposer = Proposer(log, clock, node_id, term, wake)
        self._firer = Firer(proposer, clock, self.executors, self._tasks, settings)
        self._dispatcher = Dispatcher(proposer, self.executors, self._tasks, settings)
        self._reporter = Reporter(proposer, clock, self.executors, settings)
        self._wakers = (waking.executions(proposer, settings), waking.watches(proposer, settings))
        self._leases = Leases(proposer, settings.lease_ms, settings.reconcile_interval_s)
        self._retention = Retention(proposer, settings)
        self._reconcile_s = clock.monotonic()
        self._stopped = False

    def stop(self) -> None:
        """End the term: every executor is sent away to find the next leader."""
        self._stopped = True
        for session in list(self.executors):
            session.link.close()

    def step(self) -> float:
        """Do what there is to do; returns the seconds until the next step is due unless something wakes it."""
        now_s = self._clock.monotonic()
        self.executors.adapt_bursts(now_s)
        with self._store.read() as reader:
            patience_s = self._patience_s(reader)
            if not patience_s:
                # Before what fires now, which may depend on an end.
                self._reporter.step()
            for waker in self._wakers:
                waker.step(reader)
            # What waits comes before what is new.
            self._dispatcher.assign_pending(reader)
            self._firer.step(reader)
            if now_s >= self._reconcile_s:
                self._reconcile_s = now_s + self._settings.reconcile_interval_s
                assigned = survey(reader)
                self._end_leases(assigned, now_s)
                self._dispatcher.reconcile(reader, assigned)
                self._dispatcher.look_again(reader)
            self._retention.step(reader, now_s)
            due_us = [time_us for waits in (self._firer, *self._wakers) if (time_us := waits.next_due_us(reader))]
        longest_s = patience_s or _LONGEST_STEP_S
        if not due_us:
            return longest_s
        return min(longest_s, max(0.0, (min(due_us) - self._clock.now_us()) / 1e6))

    def _patience_s(self, reader: Reader) -> float:
        """How long reports may wait for a Fire command, which follows within that time; 0 when they may not.

        An execution that waits may wait for what they report: a slot, or its turn in a group or a queue.
        """
        patience_s = self._reporter.patience_s()
        if not patience_s or reader.count(Table.PENDING) or reader.count(Table.HELD):
            return 0.0
        return patience_s if self._firer.follows_within(reader, patience_s) else 0.0

    def applied(self, executions: Iterable[tuple[bytes, ExecutionRow]], tasks: Iterable[str]) -> None:
        """Called after each commit with what it changed."""
        for name in tasks:
            self._tasks.forget(name)
        with self._store.read() as reader:
            self._dispatcher.follow(reader, executions)
        self._wake()

    def connect(self, hello: xpb.Hello, link: ExecutorLink) -> Session:
        """Admit an executor: it is welcomed, told what is no longer its own, and sent what it lacks."""
        session = Session(
            executor_id=hello.executor_id,
            incarnation=hello.incarnation,
            labels=dict(hello.labels),
            slots=hello.slots,
            remote_slots=hello.remote_slots,
            node_id=hello.node_id,
            version=hello.version,
            link=link,
            draining=hello.draining,
        )
        self.executors.add(session)
        self._leases.renew(session.executor_id, self._clock.monotonic())
        welcome = xpb.ConnectResponse()
        welcome.welcome.term = self.term
        welcome.welcome.lease_ms = self._settings.lease_ms
        welcome.welcome.heartbeat_interval_ms = self._settings.heartbeat_interval_ms
        held = [(key.execution_id, key.attempt) for key in hello.held]
        with self._store.read() as reader:
            revoked, cancelled = self._dispatcher.admit(reader, session, held)
        welcome.welcome.copy_nodes.extend(
            xpb.CopyNode(id=member.id, address=member.address) for member in self._settings.copy_nodes
        )
        for execution_id, attempt in revoked:
            welcome.welcome.revoked.add(execution_id=execution_id, attempt=attempt)
        link.send(welcome)
        if cancelled:
            link.send(cancel_message(cancelled))
        self._reconcile_s = 0.0
        self._wake()
        return session

    def receive(self, session: Session, message: xpb.ConnectRequest) -> None:
        """Take a message of a connected executor, other than Hello and Output."""
        self._leases.renew(session.executor_id, self._clock.monotonic())
        match message.WhichOneof("kind"):
            case "heartbeat":
                session.draining = message.heartbeat.draining
                # Only what is known: a message may carry fields of any size that are not.
                answer = xpb.Heartbeat(sequence=message.heartbeat.sequence)
                session.link.send(xpb.ConnectResponse(heartbeat=answer))
            case "reports":
                if not self._reporter.take(session.executor_id, message.reports.items):
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

    def disconnect(self, session: Session) -> None:
        """The stream is down. The executor keeps its attempts until its lease runs out."""
        self.executors.remove(session)

    def _end_leases(self, assigned: dict[str, list[AttemptKey]], now_s: float) -> None:
        for executor_id in self._leases.expire(assigned, now_s):
            session = self.executors.get(executor_id)
            if session is not None:
                session.link.close()
                self.executors.remove(session)
            self.executors.forget(executor_id)
