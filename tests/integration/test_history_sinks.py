"""A sink that refuses for a while has every record afterwards, each at least once, in order per task."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from raftsched_client import task
from raftsched_proto.v1 import history_pb2

from tests.support.cluster import Cluster, eventually
from tests.support.sinks import Receiver, problems, run_all, sinks


def leader_with(cluster: Cluster, wanted: Callable[[Sequence[history_pb2.SinkStatus]], bool]) -> str | None:
    """The node that leads and ships, if the state of its sinks is as wanted."""
    leader = cluster.leader()
    with cluster.client(leader) as asked:
        return leader if wanted(asked.get_history_status().sinks) else None


def whole_lines(file: Path) -> list[str]:
    """Without one that is being written."""
    text = file.read_text() if file.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def test_a_sink_that_refuses_for_a_while_gets_every_record_in_order_even_if_the_leader_is_killed_meanwhile(
    tmp_path: Path,
) -> None:
    receiver, collector = Receiver(), Receiver()
    lines = tmp_path / "records.jsonl"
    variables = sinks(
        es=("elasticsearch", receiver.url), otel=("otlp", f"{collector.url}/v1/logs"), file=("jsonl", str(lines))
    )
    names = ("a", "b")
    with receiver.serving(), collector.serving(), Cluster(tmp_path, **variables) as cluster, cluster.client() as client:
        for name in names:
            client.create_task(task(name, every=timedelta(days=300), noop=True))
        ended = run_all(client, names, 3)
        eventually(lambda: set(ended) <= receiver.ids(), what="the first records")
        receiver.refuses, collector.refuses = 503, 503
        ended += run_all(client, names, 3)
        eventually(lambda: receiver.refused > 1, what="a refusal")
        leader = eventually(
            lambda: leader_with(cluster, lambda sinks: any("503" in each.problem for each in sinks)),
            what="a sink that fails",
        )
        # Searches and fires go on; the next leader takes the shipping over while the sink still refuses.
        cluster.nodes[leader].kill()
        ended += run_all(client, names, 3)
        receiver.refuses = collector.refuses = 0
        eventually(lambda: set(ended) <= receiver.ids(), within_s=60, what="all in bulk")
        eventually(lambda: set(ended) <= collector.otlp_ids(), within_s=60, what="all over OTLP")
        eventually(
            lambda: set(ended) <= {json.loads(line).get("execution_id") for line in whole_lines(lines)},
            within_s=60,
            what="all in the file",
        )
        assert problems(receiver.bulk_documents(), ended) == []
        last = eventually(
            lambda: leader_with(
                cluster,
                lambda sinks: (
                    len(sinks) == 3
                    and all(not each.problem and not each.waiting_records and each.active for each in sinks)
                ),
            ),
            what="sinks that are well",
        )
        with cluster.client(last) as asked:
            assert asked.get_history_status().lost_records == 0


def test_what_is_missing_or_out_of_order_is_told() -> None:
    one, two = ("1", {"task": "a"}), ("2", {"task": "a"})
    assert problems([one, two, one], ["1", "2"]) == []
    assert problems([two, one], ["1", "2"]) == ["2 of a came before 1, which ended before it"]
    assert problems([one], ["1", "2"]) == ["2 never came"]
