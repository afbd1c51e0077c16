"""Crontabs imported into a node that checks and completes definitions, through the command line."""

import asyncio
import json
from pathlib import Path

import pytest
from raftsched_client import Client, Task

from raftsched.cli.main import run
from tests.support.api_cluster import ApiCluster, on_cluster

POLICIES = (
    "--attempts", "3", "--backoff", "250ms", "--misfire", "skip", "--time-limit", "90s", "--overlap", "queue",
    "--label", "a=b", "--executor-label", "zone=x", "--jitter", "2s", "--priority", "3",
)  # fmt: skip


async def tasks_of(cluster: ApiCluster) -> dict[str, Task]:
    def read() -> dict[str, Task]:
        with Client(cluster.node.me.address) as client:
            return {task.name: task for task in client.list_tasks()}

    return await asyncio.to_thread(read)


@on_cluster()
async def test_importing_again_finds_each_task_as_the_cluster_completed_it(
    cluster: ApiCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def imported(*options: str) -> list[str]:
        arguments = ["import", "crontab", str(tmp_path / "jobs"), "--zone", "Europe/Berlin", "-o", "json", *options]
        code = await asyncio.to_thread(run, ["--endpoints", cluster.node.me.address, *arguments])
        document = json.loads(capsys.readouterr().out)
        assert code == 0, document
        return [line["result"] for line in document["lines"] + document["gone"] if line["task"]]

    lines = [
        "PATH=/bin",
        "5 5 * * * mail x%y%z",
        "H/20 1-5 * * mon-fri /opt/a.sh",
        "@daily /opt/a.sh",
        "-@daily /opt/a.sh",
    ]
    (tmp_path / "jobs").write_text("\n".join(lines) + "\n")
    assert await imported(*POLICIES) == ["created"] * 4
    before = await tasks_of(cluster)
    assert await imported(*POLICIES) == ["unchanged"] * 4
    assert await imported() == ["unchanged"] * 4
    (tmp_path / "jobs").write_text("\n".join([lines[0], "0 1 * * * /opt/b.sh", *reversed(lines[1:])]) + "\n")
    assert sorted(await imported()) == ["created"] + ["unchanged"] * 4
    after = await tasks_of(cluster)
    assert {name: after[name].etag for name in before} == {name: task.etag for name, task in before.items()}
    (tmp_path / "jobs").write_text("PATH=/bin\n6 5 * * * mail x%y%z\n")
    assert sorted(await imported("--prune", "--yes")) == ["changed"] + ["pruned"] * 4
    (task,) = (await tasks_of(cluster)).values()
    assert (task.uid, task.schedule.cron.expression) == (before["mail"].uid, "6 5 * * *")
