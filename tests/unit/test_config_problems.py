"""What a configuration that cannot be used is refused with: the key where it was written, and plain words."""

import re
from pathlib import Path

import pytest

from raftsched.config import ConfigError, load

NODE = 'id = "n1"\nlisten = "127.0.0.1:7101"\ndata_dir = "/tmp/x"\n'


def refusal(
    tmp_path: Path, toml: str = "", env: dict[str, str] | None = None, flags: dict[str, object] | None = None
) -> list[str]:
    file = tmp_path / "node.toml"
    file.write_text(NODE + toml)
    with pytest.raises(ConfigError) as refused:
        load("node", file, env, flags)
    first, *lines = str(refused.value).splitlines()
    assert first == "the configuration cannot be used:"
    return [_elsewhere_told(line.strip().replace(str(file), file.name)) for line in lines]


def _elsewhere_told(line: str) -> str:
    """Without the line of the file, which ``test_config.py`` looks at."""
    return re.sub(r" \(node\.toml:\d+\)$", "", re.sub(r"\(node\.toml:\d+ is ", "(it is ", line))


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('log = "x"', 'log: is a section, not a value (it is "x")'),
        ("raft = [1]", "raft: is a section, not a value (it is [1])"),
        ('[[log]]\nlevel = "info"', "log: is a section, not a value"),
        ('[log]\nlevel = "loud"', 'log.level: must be one of debug, info, warning, error (it is "loud")'),
        ('[raft]\nheartbeat_ms = "x"', 'raft.heartbeat_ms: must be a whole number (it is "x")'),
        ("[raft]\nheartbeat_ms = 1.5", "raft.heartbeat_ms: must be a whole number (it is 1.5)"),
        ("[raft]\nheartbeat_ms = 5", "raft.heartbeat_ms: must be at least 10 (it is 5)"),
        ("max_data_gib = 99999", "max_data_gib: must be at most 16,384 (it is 99999)"),
        ("[raft]\nheartbeat_ms = 1000", "raft: election_timeout_min_ms must be more than 3 times heartbeat_ms"),
        ("peers = 3", "peers: must be a table of names and values (it is 3)"),
        (
            'peers = { "bad id" = "a:1" }',
            'peers: must be an id: 1 to 63 of [A-Za-z0-9._-], starting with a letter or digit (it is "bad id")',
        ),
        ('peers = { n1 = "a" }', 'peers.n1: must be of the form host:port with a port from 1 to 65535 (it is "a")'),
        ("http_origins = 3", "http_origins: must be a list (it is 3)"),
        ("http_origins = [1]", "http_origins.0: must be a text (it is 1)"),
        ('[history]\nenabled = "maybe"', 'history.enabled: must be true or false (it is "maybe")'),
        (
            '[history.sinks.x]\nkind = "jsonl"\ntarget = ""',
            'history.sinks.x.target: must have at least 1 character',
        ),
        (
            '[executor]\ncontainer_socket = "x"',
            'executor.container_socket: must begin with unix:// or tcp:// (it is "x")',
        ),
        ("[scheduler]\nkeep_ledger_hours = nan", "scheduler.keep_ledger_hours: must be a number (it is NaN)"),
        ("[executor.labels]\na = 1", "executor.labels.a: must be a text (it is 1)"),
        ("unknown = 1", "unknown: there is no such key; `--print-config` shows all of them"),
    ],
)  # fmt: skip
def test_each_fault_is_told_in_plain_words(tmp_path: Path, toml: str, said: str) -> None:
    assert refusal(tmp_path, toml) == [said]


def test_a_value_is_named_as_it_was_given(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        "max_data_gib = 0",
        {"RAFTSCHED_RAFT__HEARTBEAT_MS": "soon", "RAFTSCHED_HTTP_HOSTS": "a b"},
        {"slots": "many", "label": ["a"]},
    )
    assert set(lines) == {
        "max_data_gib: must be at least 1 (it is 0)",
        'raft.heartbeat_ms: must be a whole number (RAFTSCHED_RAFT__HEARTBEAT_MS is "soon")',
        'http_hosts.0: write a name without a port, an IP address, *.domain, or "*" (RAFTSCHED_HTTP_HOSTS is "a b")',
        'executor.slots: must be a whole number (--slots is "many")',
        "executor.labels: 'a' is not of the form name=value (--label is [\"a\"])",
    }


def test_a_refusal_repeats_no_secret(tmp_path: Path) -> None:
    sink = '[history.sinks.x]\nkind = "otlp"\ntarget = "a"\nheaders = { authorization = "secret-word" }'
    (line,) = refusal(tmp_path, sink)
    assert line == "history.sinks.x: the target of a sink of kind otlp is a URL, http:// or https://"
    (line,) = refusal(tmp_path, sink.replace('"a"', '"http://a"').replace('"secret-word"', '["secret-word"]'))
    assert line == "history.sinks.x.headers.authorization: must be a text"


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, f'cluster_id = "{"x" * 10_000}"')
    assert len(line) < 250 + len("node.toml:4")
