"""A calendar that changes through three real processes while its tasks fire, with a leader that dies."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from raftsched_client import Calendar, ConflictError, Exclusion, LedgerEntry, task, to_timestamp

from tests.support.cluster import Cluster, eventually

SECOND = timedelta(seconds=1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def test_tasks_follow_a_calendar_and_miss_nothing_else_though_the_leader_dies(cluster: Cluster) -> None:
    anchor = datetime.now(UTC).replace(microsecond=0)
    with cluster.client() as client:
        client.create_calendar(Calendar(name="freeze"))
        for name in ("a", "b"):
            client.create_task(task(name, every=SECOND, anchor=anchor, calendars=["freeze"], noop=True))
        eventually(lambda: len(list(client.list_ledger("a"))) >= 3, what="three decisions")
        begin = datetime.now(UTC).replace(microsecond=0) + 15 * SECOND
        end = begin + 5 * SECOND
        window = Exclusion(start_time=to_timestamp(begin, "begin"), end_time=to_timestamp(end, "end"))
        changed = client.update_calendar(Calendar(name="freeze", exclusions=[window]))
        assert (changed.tasks, changed.exclusion_count) == (2, 1)
        assert datetime.now(UTC) < begin, "the change came too late for this machine to tell anything"
        cluster.nodes[killed := cluster.leader()].kill()
        until = end + 3 * SECOND
        for name in ("a", "b"):
            eventually(
                lambda name=name: any(each.nominal_time.ToDatetime(UTC) >= until for each in client.list_ledger(name)),
                what=f"a decision of {name} behind the window",
            )
            left_out = range(int(begin.timestamp()), int(end.timestamp()))
            covered = [second for each in client.list_ledger(name) for second in seconds(each, left_out)]
            first, last = min(covered), max(covered)
            assert sorted(covered) == [second for second in range(first, last + 1) if second not in left_out]
        cluster.nodes[killed].start()
        with pytest.raises(ConflictError):
            client.delete_calendar("freeze")


def seconds(entry: LedgerEntry, left_out: range) -> list[int]:
    """The nominal times that an entry stands for, which may be those of a time without a leader."""
    first, last = entry.nominal_time.seconds, entry.last_nominal_time.seconds
    assert not {first, last} & set(left_out)
    found = [second for second in range(first, last + 1) if second not in left_out]
    assert len(found) == entry.count
    return found
