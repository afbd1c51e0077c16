"""Settings: the order of the sources, and refusals that name the key."""

import tomllib
from pathlib import Path

import pytest

from raftsched.config import ConfigError, NodeConfig, load, render

FLAGS = {"id": "n1", "listen": "127.0.0.1:7101", "data_dir": "/tmp/n1"}
THREE = "n1=127.0.0.1:7101,n2=127.0.0.1:7102,n3=127.0.0.1:7103"


def node(file: Path | None = None, env: dict[str, str] | None = None, **flags: object) -> NodeConfig:
    config = load("node", file, env, FLAGS | flags)
    assert isinstance(config, NodeConfig)
    return config


def refusal(file: Path | None = None, env: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as refused:
        node(file, env, **flags)
    return str(refused.value)


def test_without_peers_a_node_is_a_cluster_of_its_own() -> None:
    assert node().peers == {"n1": "127.0.0.1:7101"}


def test_http_is_served_a_thousand_ports_above_grpc_unless_told_otherwise() -> None:
    assert node().http_listen == "127.0.0.1:8101"
    assert node(http_listen="0.0.0.0:80").http_listen == "0.0.0.0:80"
    assert node(env={"RAFTSCHED_HTTP_LISTEN": "off"}).http_listen == "off"
    assert "http_listen is required" in refusal(listen="127.0.0.1:65000")
    assert "http_listen:" in refusal(http_listen="on")


def test_others_reach_http_where_it_is_served_or_at_the_host_of_the_peer() -> None:
    assert node().http_address() == "127.0.0.1:8101"
    assert node(http_listen="10.0.0.7:80").http_address() == "10.0.0.7:80"
    peers = THREE.replace("n1=127.0.0.1", "n1=one.example")
    for everywhere in ("0.0.0.0:80", "[::]:80", ":::80"):
        assert node(listen="0.0.0.0:7101", peers=peers, http_listen=everywhere).http_address() == "one.example:80"
    assert node(http_listen="off").http_address() == ""


def test_names_to_be_served_as_are_checked():
    assert node(env={"RAFTSCHED_HTTP_HOSTS": "Ops.example.org, *.example.net"}).http_hosts == [
        "ops.example.org",
        "*.example.net",
    ]
    refused = refusal(http_hosts=["fine.example", "https://ops.example.org"])
    assert "http_hosts.1: write a name without a port" in refused
    assert '"https://ops.example.org"' in refused


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[executor]\nslots = 1\n[log]\nlevel = 'debug'\n[raft]\nheartbeat_ms = 50\n")
    config = node(file, {"RAFTSCHED_EXECUTOR__SLOTS": "2", "RAFTSCHED_LOG__LEVEL": "error"}, slots=3)
    assert (config.executor.slots, config.log.level, config.raft.heartbeat_ms) == (3, "error", 50)


def test_peers_and_labels_may_be_written_as_pairs() -> None:
    config = node(peers=THREE, label=["zone=a", "disk=ssd"])
    assert list(config.peers) == ["n1", "n2", "n3"]
    assert config.executor.labels == {"zone": "a", "disk": "ssd"}


@pytest.mark.parametrize(
    ("key", "flags"),
    [
        ("listen", {"listen": "localhost"}),
        ("listen", {"listen": "127.0.0.1:70000"}),
        ("id", {"id": "no spaces"}),
        ("executor.slots", {"slots": -1}),
        ("log.level", {"log_level": "loud"}),
        ("peers", {"peers": "n1"}),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_key(key: str, flags: dict[str, object]) -> None:
    assert f"  {key}:" in refusal(**flags)


def test_a_value_out_of_range_names_the_range() -> None:
    assert "must be at least 10" in refusal(env={"RAFTSCHED_RAFT__HEARTBEAT_MS": "5"})


def test_an_unknown_key_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[raft]\nheartbeat = 5\n")
    assert "raft.heartbeat: there is no such key" in refusal(file)
    assert "slotz: there is no such key" in refusal(env={"RAFTSCHED_SLOTZ": "1"})


def test_variables_of_the_client_and_of_attempts_are_not_settings() -> None:
    env = {"RAFTSCHED_ENDPOINTS": "x", "RAFTSCHED_TASK": "y", "RAFTSCHED_FENCING_TOKEN": "1", "HOME": "/"}
    assert node(env=env).id == "n1"


def test_a_node_must_be_among_its_peers_and_their_number_must_be_odd() -> None:
    assert "peers must name this node" in refusal(id="n9", peers=THREE)
    assert "1, 3, 5 or 7 nodes, not 2" in refusal(peers="n1=127.0.0.1:7101,n2=127.0.0.1:7102")


def test_an_election_timeout_must_leave_room_for_heartbeats() -> None:
    assert "more than 3 times heartbeat_ms" in refusal(env={"RAFTSCHED_RAFT__HEARTBEAT_MS": "300"})


def test_an_executor_process_needs_slots() -> None:
    with pytest.raises(ConfigError, match=r"executor\.slots must be at least 1"):
        load("executor", flags={"join": "127.0.0.1:7101", "data_dir": "/tmp/e", "slots": 0})
    assert node(slots=0).executor.slots == 0


def test_a_callable_is_named_with_its_module() -> None:
    assert node(env={"RAFTSCHED_EXECUTOR__PYTHON_ALLOW": "a.b:c, d:*"}).executor.python_allow == ["a.b:c", "d:*"]
    assert "executor.python_allow.0: write package.module:function" in refusal(
        env={"RAFTSCHED_EXECUTOR__PYTHON_ALLOW": "a.b"}
    )


def test_a_file_that_is_missing_or_not_toml_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    assert f"cannot read the configuration file {file}" in refusal(file)
    file.write_text("= what")
    assert "is not TOML" in refusal(file)


def test_the_printed_settings_give_the_same_settings_again() -> None:
    config = node(peers=THREE, label=["a/b=c d"])
    assert NodeConfig.model_validate(tomllib.loads(render(config))) == config


def test_names_and_texts_of_any_kind_are_printed_so_that_they_are_read_again() -> None:
    peers = {"n1": "127.0.0.1:7101", "n.2": "127.0.0.1:7102", "n-3": "127.0.0.1:7103"}
    labels = {"a.b c": "\U0001f600", 'x"\\': "\x7f\x85\u2028\t\x01", "é": "'"}
    config = node(peers=peers, executor={"labels": labels})
    assert NodeConfig.model_validate(tomllib.loads(render(config))) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id = 5\n[executor]\n# c\nslots = true\n", "executor.slots: must be a number (node.toml:4 is true)"),
        ("[scheduler]\nkeep_executions_hours = true\n", "scheduler.keep_executions_hours: must be a number (node"),
        ("[executor]\nlabels = { a = 1 }\n", "executor.labels.a: must be a text (node.toml:2 is 1)"),
        ("[raft]\n\n\nheartbeat = 5\n", "`--print-config` shows all of them (node.toml:4)"),
        ("[raft]\nheartbeat_ms = '0x10'\n", 'raft.heartbeat_ms: must be a whole number (node.toml:2 is "0x10")'),
        ("cluster_id = 2026-01-01\n", 'cluster_id: must be a text (node.toml:1 is "2026-01-01")'),
        ("[scheduler]\nkeep_executions_hours = nan\n", "must be a number (node.toml:2 is NaN)"),
        ("[history.sinks.a]\nkind = 'otlp'\ntarget = 'http://h'\nheaders = {x='ö'}\n", "the header 'x' must be of"),
        ("raft = 5\n", "raft: is a section, not a value (node.toml:1 is 5)"),
        ("a = 1\nb = \n", "the configuration file is not TOML: node.toml:2: Invalid value"),
        ("a = 1\na = 2\n", "not TOML: node.toml:2: Cannot overwrite a value"),
        ("a = " + "[" * 100_000, "not TOML: node.toml:1: is nested too deeply"),
        (b"# fine\ncluster_id = 'caf\xe9'\n", "not TOML: node.toml:2: byte 0xe9 is not UTF-8"),
    ],
)  # fmt: skip
def test_what_a_file_says_wrong_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("node.toml").write_bytes(text.encode() if isinstance(text, str) else text)
    assert message in refusal(Path("node.toml"))


def test_a_file_is_read_as_utf_8_with_or_without_a_mark_and_with_any_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_bytes("\ufeffmax_data_gib = 0o17\r\n[executor]\r\nlabels = { 'größe' = 'M' }\r\n".encode())
    assert node(file).max_data_gib == 15
    assert node(file).executor.labels == {"größe": "M"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATA_DIR", "", 'data_dir: must name a directory (RAFTSCHED_DATA_DIR is "")'),
        ("EXECUTOR__SLOTS", "", 'must be a whole number (RAFTSCHED_EXECUTOR__SLOTS is "")'),
        ("EXECUTOR__SLOTS", "\u0665", "must be a whole number"),
        ("EXECUTOR__SLOTS", "5.5", "must be a whole number"),
        ("EXECUTOR", "5", "executor: is a section, not a value"),
        ("EXECUTOR__LABELS", "a=1,b=2,a=3", "'a' is there twice"),
        ("PEERS", "n1=127.0.0.1:7101,n2=x:\u00b2,n3=y:7", "peers.n2: "),
        ("PEERS", "n1=127.0.0.1:7101,n2=x:" + "9" * 5_000, "peers.n2: "),
    ],
)
def test_what_a_variable_says_wrong_is_refused_by_its_name(name: str, value: str, message: str) -> None:
    flags = {key: flag for key, flag in FLAGS.items() if key != name.lower()}
    with pytest.raises(ConfigError) as refused:
        load("node", None, {f"RAFTSCHED_{name}": value}, flags)
    assert message in str(refused.value)
    assert "invalid literal" not in str(refused.value)
