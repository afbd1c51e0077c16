"""Streams that go on after an interruption."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from raftsched_client import Execution, NotFoundError, UnavailableError
from raftsched_client._follow import MAX_SEEN, Output, Watch
from raftsched_proto.v1.execution_pb2 import (
    EXECUTION_STATE_ARMED,
    EXECUTION_STATE_ASSIGNED,
    EXECUTION_STATE_FAILED,
    EXECUTION_STATE_PENDING,
    EXECUTION_STATE_RUNNING,
    EXECUTION_STATE_SUCCEEDED,
    GetOutputResponse,
)

from tests.support.peer_cluster import Cluster, Fault, refusal

NOW = datetime.now(UTC)


def execution(
    name: str,
    state: int,
    *,
    attempt: int = 1,
    task: str = "tidy",
    fired: datetime = NOW,
    nominal: datetime | None = None,
) -> Execution:
    built = Execution(id=name, task=task, state=state, attempt=attempt)
    built.nominal_time.FromDatetime(nominal or fired)
    built.fire_time.FromDatetime(fired)
    return built


def wait_for_watchers(cluster: Cluster, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(cluster.watchers) != count:
        assert time.monotonic() < deadline, f"{len(cluster.watchers)} watchers"
        time.sleep(0.005)


def wait_for_another_watcher(cluster: Cluster, before: object) -> None:
    """The client may be back before anybody sees that it was away."""
    deadline = time.monotonic() + 20
    while not any(watcher is not before for watcher in list(cluster.watchers)):
        assert time.monotonic() < deadline, "the client does not come back"
        time.sleep(0.005)


class Play(threading.Thread):
    """Runs the other side of a test while the test iterates; its failure is raised by ``join``."""

    def __init__(self, script) -> None:
        super().__init__()
        self._script = script
        self._failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._script()
        except BaseException as error:
            self._failure = error

    def join(self, timeout: float | None = 30) -> None:
        super().join(timeout)
        assert not self.is_alive()
        if self._failure:
            raise self._failure


def test_watch_yields_changes_of_one_task_as_they_come(cluster, client):
    def script() -> None:
        wait_for_watchers(cluster, 1)
        cluster.change(execution("A", EXECUTION_STATE_PENDING))
        cluster.change(execution("B", EXECUTION_STATE_PENDING, task="other"))
        cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED))

    other_side = Play(script)
    changes = client.watch_executions(task="tidy")
    assert [(e.id, e.state) for e in (next(changes), next(changes))] == [
        ("A", EXECUTION_STATE_PENDING),
        ("A", EXECUTION_STATE_SUCCEEDED),
    ]
    changes.close()
    other_side.join()
    wait_for_watchers(cluster, 0)


def test_watch_of_one_execution_starts_with_its_state_and_ends_with_it(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_PENDING))

    def script() -> None:
        wait_for_watchers(cluster, 1)
        cluster.change(execution("A", EXECUTION_STATE_RUNNING))
        cluster.change(execution("A", EXECUTION_STATE_FAILED))

    other_side = Play(script)
    states = [e.state for e in client.watch_executions(execution_id="A")]
    other_side.join()
    assert states[-1] == EXECUTION_STATE_FAILED
    assert states == sorted(set(states))


def test_watch_of_an_ended_execution_ends_at_once(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED))
    assert [e.id for e in client.watch_executions(execution_id="A")] == ["A"]


def test_watch_of_an_unknown_execution_is_an_error(client):
    with pytest.raises(NotFoundError):
        list(client.watch_executions(execution_id="A"))


def test_watch_catches_up_after_its_node_died(cluster, client):
    """Open ones that went on, new ones, and the end of those that began and ended meanwhile: all are seen once."""

    def script() -> None:
        wait_for_watchers(cluster, 1)
        cluster.change(execution("A", EXECUTION_STATE_RUNNING, nominal=NOW - timedelta(hours=2)))
        cluster.change(execution("B", EXECUTION_STATE_SUCCEEDED))
        seen.wait(20)
        cluster.stop(0)
        cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED, nominal=NOW - timedelta(hours=2)), tell=False)
        cluster.change(execution("C", EXECUTION_STATE_SUCCEEDED, fired=NOW + timedelta(seconds=1)), tell=False)
        wait_for_watchers(cluster, 1)
        cluster.change(execution("D", EXECUTION_STATE_PENDING, fired=NOW + timedelta(seconds=2)))

    seen = threading.Event()
    other_side = Play(script)
    changes = client.watch_executions()
    got = [next(changes), next(changes)]
    seen.set()
    got += [next(changes) for _ in range(3)]
    changes.close()
    other_side.join()
    assert [e.id for e in got[:2]] == ["A", "B"]
    assert {(e.id, e.state) for e in got[2:]} == {
        ("A", EXECUTION_STATE_SUCCEEDED),
        ("C", EXECUTION_STATE_SUCCEEDED),
        ("D", EXECUTION_STATE_PENDING),
    }


def test_watch_survives_an_execution_that_retention_removed(cluster, client):
    def script() -> None:
        wait_for_watchers(cluster, 1)
        cluster.change(execution("A", EXECUTION_STATE_RUNNING, nominal=NOW - timedelta(hours=2)))
        seen.wait(20)
        del cluster.executions["A"]
        (broken,) = cluster.watchers
        cluster.break_watches(None)
        wait_for_another_watcher(cluster, broken)
        cluster.change(execution("B", EXECUTION_STATE_PENDING))

    seen = threading.Event()
    other_side = Play(script)
    changes = client.watch_executions()
    assert next(changes).id == "A"
    seen.set()
    assert next(changes).id == "B"
    changes.close()
    other_side.join()


def test_dropped_changes_are_read_again(cluster, client):
    def script() -> None:
        wait_for_watchers(cluster, 1)
        cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED), tell=False)
        cluster.change(execution("B", EXECUTION_STATE_PENDING, fired=NOW + timedelta(seconds=1)), dropped=1)

    cluster.change(execution("Z", EXECUTION_STATE_PENDING, fired=NOW - timedelta(hours=1)), tell=False)
    other_side = Play(script)
    changes = client.watch_executions()
    got = [next(changes) for _ in range(2)]
    changes.close()
    other_side.join()
    assert sorted(e.id for e in got) == ["A", "B"]


def test_watch_gives_up_when_no_node_comes_back(cluster, client):
    def script() -> None:
        wait_for_watchers(cluster, 1)
        for number in range(3):
            cluster.stop(number)

    other_side = Play(script)
    with pytest.raises(UnavailableError) as raised:
        list(client.watch_executions(timeout=2))
    other_side.join()
    assert raised.value.applied == "no"


def test_output_goes_on_where_it_broke_off(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_RUNNING))
    cluster.outputs["A"] = [
        GetOutputResponse(data=b"one ", attempt=1, offset=100),
        GetOutputResponse(data=b"two ", attempt=1, offset=104),
        GetOutputResponse(data=b"three", attempt=1, offset=108),
    ]
    cluster.fail("GetOutput", *[Fault(refusal("UNAVAILABLE", "node goes down"), applied=True)] * 2)
    pieces = list(client.get_output("A", follow=True))
    assert b"".join(piece.data for piece in pieces) == b"one two three"
    assert [piece.truncated_bytes for piece in pieces] == [100, 0, 0]
    assert cluster.methods().count("GetOutput") == 3


def test_output_of_a_further_attempt_follows_from_its_beginning(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_RUNNING))
    cluster.outputs["A"] = [GetOutputResponse(data=b"first", attempt=1)]
    cluster.fail("GetOutput", Fault(refusal("UNAVAILABLE", "node goes down"), applied=True))
    pieces = client.get_output("A", follow=True)
    got = next(pieces).data
    cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED, attempt=2))
    cluster.outputs["A"] = [GetOutputResponse(data=b"second", attempt=2)]
    assert got + b"".join(piece.data for piece in pieces) == b"firstsecond"


def test_output_that_is_not_followed_survives_a_lost_connection(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_SUCCEEDED))
    cluster.outputs["A"] = [
        GetOutputResponse(data=b"one ", attempt=1),
        GetOutputResponse(data=b"two", attempt=1, offset=4),
    ]
    cluster.fail("GetOutput", Fault(refusal("UNAVAILABLE", "node goes down"), applied=True))
    assert b"".join(piece.data for piece in client.get_output("A")) == b"one two"


@pytest.mark.parametrize("follow", [False, True])
def test_output_of_an_unknown_execution_is_an_error(client, follow):
    with pytest.raises(NotFoundError):
        list(client.get_output("A", follow=follow))


def test_output_marks_what_got_lost_between_two_connections():
    output = Output()
    first = GetOutputResponse(data=b"abcdef", attempt=1)
    assert output.take(first) == first
    later = output.take(GetOutputResponse(data=b"jkl", attempt=1, offset=9))
    assert later == GetOutputResponse(data=b"jkl", truncated_bytes=3, attempt=1, offset=9)
    assert output.take(GetOutputResponse(data=b"jk", attempt=1, offset=9)) is None
    again = output.take(GetOutputResponse(data=b"lm", attempt=1, offset=11))
    assert again == GetOutputResponse(data=b"m", attempt=1, offset=12)


def test_output_is_read_from_an_offset_of_the_first_attempt_and_whole_of_the_next():
    output = Output(4)
    assert output.offset == 4
    first = GetOutputResponse(data=b"ef", attempt=1, offset=4)
    assert output.take(first) == first
    # Another attempt may run when the connection is open again: nothing of it may be left out.
    assert output.offset == 0
    assert output.take(GetOutputResponse(data=b"abcdef", attempt=1)) is None
    second = GetOutputResponse(data=b"xyz", attempt=2)
    assert output.take(second) == second


def test_output_from_an_offset_goes_on_where_it_broke_off(cluster, client):
    cluster.change(execution("A", EXECUTION_STATE_RUNNING))
    cluster.outputs["A"] = [
        GetOutputResponse(data=b"one ", attempt=1, offset=4),
        GetOutputResponse(data=b"two", attempt=1, offset=8),
    ]
    cluster.fail("GetOutput", Fault(refusal("UNAVAILABLE", "node goes down"), applied=True))
    pieces = list(client.get_output("A", follow=True, offset=4))
    assert b"".join(piece.data for piece in pieces) == b"one two"
    assert not any(piece.truncated_bytes for piece in pieces)


def test_older_and_repeated_changes_are_not_news():
    watch = Watch(NOW)
    assert watch.is_news(execution("A", EXECUTION_STATE_RUNNING))
    assert not watch.is_news(execution("A", EXECUTION_STATE_RUNNING))
    assert not watch.is_news(execution("A", EXECUTION_STATE_PENDING))
    assert watch.is_news(execution("A", EXECUTION_STATE_PENDING, attempt=2))
    assert watch.still_open() == ["A"]
    assert watch.is_news(execution("A", EXECUTION_STATE_SUCCEEDED, attempt=2))
    assert watch.still_open() == []


def test_an_armed_execution_is_open_and_all_that_follows_is_news():
    for steps in (
        (EXECUTION_STATE_ARMED, EXECUTION_STATE_RUNNING, EXECUTION_STATE_SUCCEEDED),
        (EXECUTION_STATE_ARMED, EXECUTION_STATE_PENDING, EXECUTION_STATE_ASSIGNED, EXECUTION_STATE_SUCCEEDED),
    ):
        watch = Watch(NOW)
        for state in steps:
            assert watch.is_news(execution("A", state))
            assert watch.still_open() == ([] if state == EXECUTION_STATE_SUCCEEDED else ["A"])
        assert not watch.is_news(execution("A", EXECUTION_STATE_ARMED))


def test_watch_remembers_a_bounded_number_of_executions():
    watch = Watch(NOW)
    for number in range(MAX_SEEN + 5):
        assert watch.is_news(execution(str(number), EXECUTION_STATE_RUNNING))
    assert watch.still_open() == [str(number) for number in range(5, MAX_SEEN + 5)]


def test_reread_reaches_back_from_the_clock_of_the_cluster():
    watch = Watch(NOW)
    assert watch.reread_from() == NOW - timedelta(minutes=1)
    watch.is_news(execution("A", EXECUTION_STATE_PENDING, fired=NOW - timedelta(hours=5)))
    assert watch.reread_from() == NOW - timedelta(hours=5, minutes=1)
    watch.is_news(execution("B", EXECUTION_STATE_PENDING, fired=NOW - timedelta(hours=6)))
    assert watch.reread_from() == NOW - timedelta(hours=5, minutes=1)
