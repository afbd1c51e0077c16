"""The options of actions, and the examples of docs/actions.md, through the client, against real servers."""

import re
import shlex
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict
from raftsched_proto.v1 import task_pb2

from raftsched.definitions.task import new_task

PAGE = (Path(__file__).parents[3] / "docs" / "actions.md").read_text()
EVERY = ("--every", "1m")
NOW_US = 1_800_000_000_000_000


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


EXAMPLES = [line[2:] for block in blocks("console") for line in block.splitlines()]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_the_page_is_a_task_that_the_cluster_accepts(cli, cluster, example):
    arguments = shlex.split(example)
    ended = cli(*arguments[1:])
    assert ended.code == 0, ended.err
    new_task(cluster.tasks[arguments[3]], NOW_US)


def test_tasks_of_the_page_in_a_file_are_accepted(cli, cluster, tmp_path):
    (tmp_path / "tasks.yaml").write_text(blocks("yaml")[0])
    assert cli("task", "create", "-f", str(tmp_path / "tasks.yaml")).code == 0
    kinds = {name: new_task(task, NOW_US).task.action.WhichOneof("kind") for name, task in cluster.tasks.items()}
    assert kinds == {"status": "grpc", "resize": "aws_lambda", "report": "container", "vacuum": "extension"}


def test_every_kind_has_its_own_section():
    titles = re.findall(r"^## (\w+)", PAGE, re.MULTILINE)
    assert {field.name for field in task_pb2.Action.DESCRIPTOR.fields} - {"noop"} <= set(titles)


def test_create_sends_a_container(cli, cluster):
    options = [
        *("--container", "tool:1", "--entrypoint", "/bin/tool", "--entrypoint", "-v", "--user", "nobody", "--memory"),
        *("64MiB", "--cpus", "0.5", "--pull", "never", "--network", "jobs", "--env", "A=b", "--workdir", "/srv"),
    ]
    assert cli("task", "create", "t", *EVERY, *options, "--", "run", "--fast").code == 0
    assert MessageToDict(cluster.tasks["t"].action.container) == {
        "image": "tool:1",
        "command": ["run", "--fast"],
        "entrypoint": ["/bin/tool", "-v"],
        "env": {"A": "b"},
        "workingDirectory": "/srv",
        "user": "nobody",
        "memoryLimitBytes": str(64 << 20),
        "cpuLimitMillis": 500,
        "pullPolicy": "PULL_POLICY_NEVER",
        "network": "jobs",
    }
    assert "tool:1 run --fast" in cli("task", "list").out


def test_create_sends_a_grpc_call(cli, cluster, tmp_path):
    (tmp_path / "request.json").write_text('{"a": 1}')
    (tmp_path / "set.binpb").write_bytes(b"\x0a\x00")
    options = [
        *("--grpc", "host:1", "--rpc", "p.S/M", "--request", f"@{tmp_path}/request.json", "--metadata", "k=v", "--tls"),
        *("--descriptor-set", f"@{tmp_path}/set.binpb"),
    ]
    assert cli("task", "create", "t", *EVERY, *options).code == 0
    sent = cluster.tasks["t"].action.grpc
    assert (sent.target, sent.method, sent.request_json, sent.tls) == ("host:1", "p.S/M", '{"a": 1}', True)
    assert (dict(sent.metadata), sent.descriptor_set) == ({"k": "v"}, b"\x0a\x00")
    assert "p.S/M at host:1" in cli("task", "list").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noop", "--rpc", "p.S/M"], "--rpc goes with --grpc only"),
        (["--container", "i", "--stdin", "x"], "--stdin goes with -- PROGRAM or --shell only"),
        (["--lambda", "f", "--memory", "1GiB"], "--memory goes with --container only"),
        (["--container", "i", "--memory", "much"], "'much' is not a size such as 512MiB"),
        (["--lambda", "f", "--payload", "{"], "--payload: not JSON"),
        (["--extension", "k", "--grpc", "h:1"], "give exactly one of"),
        (["--lambda", "f", "--", "program"], "give exactly one of"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cli, options, message):
    ended = cli("task", "create", "t", *EVERY, *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.split())


def written(tmp_path, data: bytes) -> str:
    (tmp_path / "f").write_bytes(data)
    return f"@{tmp_path}/f"


@pytest.mark.parametrize(
    ("flags", "data", "message"),
    [
        (("--lambda", "f", "--payload"), b'{"a": 1,\n "a": 2}', "/f:2: not JSON: the key 'a' is there twice"),
        (("--lambda", "f", "--payload"), b'{"a":\n\nNaN}', "/f:3: not JSON: JSON has no NaN"),
        (("--lambda", "f", "--payload"), b'{"a":\n"caf\xe9"}', "/f:2: byte 0xe9 is not UTF-8"),
        (("--lambda", "f", "--payload"), '{"a": 1}'.encode("utf-16"), "/f is in UTF-16LE, not UTF-8"),
        (("--lambda", "f", "--payload"), b"[" * 100_000, "--payload: not JSON that is read: nested too deeply"),
        (("--extension", "k", "--parameters"), b"{'a': 1}", "/f:1: not JSON: Expecting a key"),
        (("--grpc", "h:1", "--rpc", "p.S/M", "--request"), b"{", "/f:1: not JSON: "),
    ],
)  # fmt: skip
def test_files_of_json_are_refused_with_their_line(cli, cluster, tmp_path, flags, data, message):
    ended = cli("task", "create", "t", "--every", "1h", *flags, written(tmp_path, data))
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_a_file_of_json_arrives_as_it_was_written(cli, cluster, tmp_path):
    text = '{"big": 12345678901234567890123, "exact": 1.10, "e": 1E2}'
    assert (
        cli("task", "create", "t", "--every", "1h", "--lambda", "f", "--payload", written(tmp_path, text.encode())).code
        == 0
    )
    assert cluster.tasks["t"].action.aws_lambda.payload_json == text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [('{"a": 1, "a": 2}', "the key 'a' is there twice"), ('{"a": NaN}', "JSON has no NaN"),
     ('{"a": 1e999}', "is too large"), ("[" * 100_000, "deeply")],
)  # fmt: skip
def test_arguments_of_a_callable_that_are_no_json_are_refused(cli, cluster, kwargs, message):
    ended = cli("task", "create", "t", "--every", "1h", "--python", "a:b", "--kwargs", kwargs)
    assert (ended.code, message in ended.err) == (2, True)


def test_a_rule_in_a_file_that_is_not_utf_8_is_refused_with_its_line(cli, cluster, tmp_path):
    ended = cli("task", "create", "t", "--rrule", written(tmp_path, b"RRULE:FREQ=DAILY\n# \xe9"), "--noop")
    assert ended.code == 2
    assert "/f:2: byte 0xe9 is not UTF-8" in ended.err
