"""Tasks of the less simple kinds: chains, shared limits of groups, backfills, one on every executor, exclusions."""

from raftsched_proto.v1 import group_pb2, policy_pb2, task_pb2

from tests.simulation.consensus.world import World
from tests.simulation.system.clients import Clients, Operation
from tests.simulation.system.workload import EPOCH_US, SECOND, Workload

_GROUPS = {"narrow": group_pb2.Group(max_running=1), "slow": group_pb2.Group(max_running=2, max_starts=3)}
_CONDITIONS = ("SUCCESS", "SUCCESS", "FAILURE", "COMPLETION")
_STEP_S = 0.7


class Related:
    """Draws calls beside those of the workload until that is stopped."""

    def __init__(self, world: World, clients: Clients, workload: Workload) -> None:
        self._world = world
        self._clients = clients
        self._workload = workload
        self._random = world.random("related")
        self._numbers = 0
        self._children: list[str] = []
        _GROUPS["slow"].period.FromMicroseconds(SECOND)

    def begin(self) -> None:
        for name in _GROUPS:
            self._create_group(name)
        self._world.after(2.0, self._step)

    def _create_group(self, name: str) -> None:
        request = group_pb2.CreateGroupRequest(group=_GROUPS[name], request_id=self._clients.request_id())
        request.group.name = name

        def then(operation: Operation) -> None:
            if operation.end is None and not self._workload.stopped:
                self._create_group(name)

        self._clients.call(f"create group {name}", lambda node: node.groups.CreateGroup(request, None), then)

    def _step(self) -> None:
        if self._workload.stopped:
            return
        self._world.after(self._random.expovariate(1 / _STEP_S), self._step)
        self._random.choices(
            [self._chain, self._join, self._share, self._backfill, self._spread, self._leave_out], [3, 1, 2, 4, 1, 1]
        )[0]()

    def _task(self, kind: str) -> task_pb2.Task:
        self._numbers += 1
        dice = self._random
        task = task_pb2.Task(name=f"{kind}-{self._numbers}")
        seconds = dice.choice(["0.01", "0.1", "0.4"])
        task.action.command.argv.extend(["sleep", seconds, dice.choice(["0", "0", "1"])])
        if dice.random() < 0.3:
            task.delivery = policy_pb2.DELIVERY_AT_MOST_ONCE
        if dice.random() < 0.3:
            task.group = dice.choice(list(_GROUPS))
        return task

    def _chain(self) -> None:
        """A task that runs after another, which may be one of a chain itself."""
        parents = [*self._workload.tasks, *self._children]
        if parents:
            self._create_child([self._random.choice(parents)])

    def _join(self) -> None:
        """A task that runs after two."""
        if len(self._children) > 1:
            self._create_child(self._random.sample(self._children, 2))

    def _create_child(self, parents: list[str]) -> None:
        task = self._task("child")
        for parent in parents:
            on = "CHAIN_CONDITION_" + self._random.choice(_CONDITIONS)
            task.after.add(task=parent, on=task_pb2.ChainCondition.Value(on))
        self._children.append(task.name)
        self._clients.create(task, lambda _: None)

    def _share(self) -> None:
        """A task whose executions compete with those of others for the places of a group."""
        task = self._task("shares")
        task.group = self._random.choice(list(_GROUPS))
        task.schedule.interval.every.FromMicroseconds(2 * SECOND)
        task.schedule.end_time.FromMicroseconds(self._workload.end_us)
        self._clients.create(task, lambda _: None)

    def _spread(self) -> None:
        """A task that runs on every executor."""
        dice = self._random
        task = self._task("spread")
        task.placement = policy_pb2.PLACEMENT_EVERY
        if dice.random() < 0.5:
            task.overlap_policy = policy_pb2.OVERLAP_POLICY_SKIP
            task.max_running = 1
        if dice.random() < 0.5:
            task.start_deadline.FromMicroseconds(dice.choice([1, 4]) * SECOND)
        task.schedule.interval.every.FromMicroseconds(2 * SECOND)
        task.schedule.end_time.FromMicroseconds(self._workload.end_us)
        self._clients.create(task, lambda _: None)

    def _leave_out(self) -> None:
        """A task whose schedule leaves out some windows."""
        dice = self._random
        task = self._task("leaves-out")
        schedule = task.schedule
        schedule.cron.expression = dice.choice(["* * * * * *", "*/2 * * * * *"])
        schedule.end_time.FromMicroseconds(self._workload.end_us)
        for _ in range(dice.randint(1, 3)):
            begin_us = EPOCH_US + dice.randrange(0, self._workload.end_us - EPOCH_US)
            window = schedule.exclusions.add()
            window.start_time.FromMicroseconds(begin_us)
            window.end_time.FromMicroseconds(begin_us + dice.randrange(1, 6 * SECOND))
        self._clients.create(task, lambda _: None)

    def _backfill(self) -> None:
        """Some of the times before the run began, of a task that recurs."""
        if not self._workload.tasks:
            return
        name = self._random.choice(list(self._workload.tasks))
        request = task_pb2.BackfillTaskRequest(name=name, request_id=self._clients.request_id())
        begin_us = EPOCH_US - self._random.randrange(60, 3_600) * SECOND
        request.start_time.FromMicroseconds(begin_us)
        request.end_time.FromMicroseconds(begin_us + self._random.randrange(2, 12) * SECOND)
        request.max_running = self._random.choice([1, 2])
        self._clients.call(f"backfill {name}", lambda node: node.tasks.BackfillTask(request, None))
