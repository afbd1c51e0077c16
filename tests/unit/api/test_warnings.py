"""What a task is warned of, by the executors that are connected."""

import pytest
from raftsched_proto.v1 import cluster_pb2, policy_pb2, task_pb2

from raftsched.api.tasks.warnings import found
from raftsched.definitions.remarks import as_warnings, schedule_notes


def executor(*, kinds: tuple[str, ...] = ("command", "python"), callables: tuple[str, ...] = (), **labels: str):
    capabilities = cluster_pb2.Capabilities(action_kinds=kinds, callables=callables)
    return cluster_pb2.ExecutorStatus(id="e", labels=labels, capabilities=capabilities)


def silent(**labels: str) -> cluster_pb2.ExecutorStatus:
    """One of a version that does not say what it can run."""
    return cluster_pb2.ExecutorStatus(id="e", labels=labels)


def python(name: str, **labels: str) -> task_pb2.Task:
    task = task_pb2.Task(executor_labels=labels)
    task.action.python.callable = name
    return task


def noop(**fields: object) -> task_pb2.Task:
    task = task_pb2.Task(**fields)
    task.action.noop.SetInParent()
    return task


def test_labels_that_an_executor_carries_are_not_warned_of() -> None:
    assert list(found(noop(executor_labels={"zone": "a"}), [executor(zone="a", gpu="no")])) == []


def test_labels_that_nobody_carries_are_named_with_what_becomes_of_executions() -> None:
    task = noop(executor_labels={"zone": "c"})
    assert list(found(task, [executor(zone="a")])) == [
        ("executor_labels", "no connected executor carries zone=c: executions wait until one does")
    ]
    task.placement = policy_pb2.PLACEMENT_EVERY
    ((_, text),) = found(task, [executor(zone="a")])
    assert text.endswith("nominal times are skipped until one does")


def test_a_cluster_without_executors_is_said_so() -> None:
    assert list(found(noop(), [])) == [("executor_labels", "no executor is connected: executions wait until one does")]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("job", ("job",)),
        ("pkg.mod:run", ("pkg.mod:run",)),
        ("pkg.mod:run", ("pkg.mod:*",)),
    ],
)
def test_a_callable_that_one_executor_allows_is_fine(name: str, allowed: tuple[str, ...]) -> None:
    assert list(found(python(name), [executor(), executor(callables=allowed)])) == []


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("pkg.mod:run", ()),
        ("pkg.mod:_hidden", ("pkg.mod:*",)),
        ("pkg.mod.sub:run", ("pkg.mod:*",)),
        ("job", ("job:*",)),
        ("PKG.mod:run", ("pkg.mod:run",)),
    ],
)
def test_a_callable_that_nobody_allows_is_warned_of(name: str, allowed: tuple[str, ...]) -> None:
    ((field, text),) = found(python(name), [executor(callables=allowed)])
    assert field == "action.python.callable"
    assert name in text
    assert "executions will fail" in text


def test_only_executors_with_the_labels_count_for_a_callable() -> None:
    others = [executor(callables=("m:f",)), executor(zone="a")]
    ((field, text),) = found(python("m:f", zone="a"), others)
    assert field == "action.python.callable"
    assert "that carries the labels" in text


def test_a_kind_of_action_that_nobody_knows_is_warned_of() -> None:
    task = task_pb2.Task()
    task.action.extension.kind = "fax"
    assert [field for field, _ in found(task, [executor()])] == ["action.extension.kind"]
    assert list(found(task, [executor(kinds=("command", "fax"))])) == []
    lambda_task = task_pb2.Task()
    lambda_task.action.aws_lambda.function = "f"
    assert [field for field, _ in found(lambda_task, [executor()])] == ["action.aws_lambda"]


def test_an_executor_that_does_not_say_what_it_can_run_is_not_blamed() -> None:
    assert list(found(python("m:f"), [executor(), silent()])) == []


def test_schedules_are_warned_of_with_the_path_of_the_field() -> None:
    schedule = task_pb2.Schedule()
    for expression in ("*/90 * * * *", "0 9 * * *", "*/90 * * * *"):
        schedule.union.schedules.add().cron.expression = expression
    schedule.union.schedules.add().rrule.lines = "FREQ=MONTHLY;BYMONTHDAY=31"
    assert [(each.field, each.description[:40]) for each in as_warnings(schedule_notes(schedule))] == [
        ("schedule.union.schedules[0].cron.expression", "minute field '*/90': a step of 90 is lon"),
        ("schedule.union.schedules[3].rrule.lines", "does not fire in months without a day 31"),
    ]
