"""docs/configuration.md has every key of the settings, with its default and its range, and no other key."""

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from raftsched.config import (
    ExecutorConfig,
    ExecutorProcessConfig,
    HistoryConfig,
    LogConfig,
    NodeConfig,
    NodeTlsConfig,
    OutputConfig,
    RaftConfig,
    SchedulerConfig,
    SinkConfig,
    StateCheckConfig,
    TlsConfig,
    load,
)

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "A node": NodeConfig,
    "An executor process": ExecutorProcessConfig,
    "[tls]": NodeTlsConfig,
    "[log]": LogConfig,
    "[raft]": RaftConfig,
    "[scheduler]": SchedulerConfig,
    "[state_check]": StateCheckConfig,
    "[history]": HistoryConfig,
    "[history.sinks.NAME]": SinkConfig,
    "[output]": OutputConfig,
    "[executor]": ExecutorConfig,
}
WORKED_OUT = {
    "peers": "this node alone",
    "http_listen": "the host of `listen`, its port + 1000",
    "name": "the name of the machine",
    "slots": "16 for each CPU",
}
"""Defaults that depend on other settings or on the machine; test_config.py has the first two."""


def documented(title: str) -> dict[str, list[str]]:
    """The rows of a section's table: default, allowed and meaning by key."""
    [section] = re.findall(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert len({row[0] for row in rows}) == len(rows)
    return {key: list(cells) for key, *cells in rows}


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section itself, without the sections in it."""
    return {key: field for key, field in model.model_fields.items() if key not in tables_of(model)}


def tables_of(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """The sections in a section."""
    found: dict[str, type[BaseModel]] = {}
    for key, field in model.model_fields.items():
        for each in (field.annotation, *get_args(field.annotation)):
            if isinstance(each, type) and issubclass(each, BaseModel):
                found[key] = each
    return found


def allowed(field: FieldInfo) -> str:
    """As the page says it; empty where it says it in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(get_args(field.annotation))
    if field.annotation is bool:
        return "true, false"
    low, high = (
        next((getattr(each, name) for each in field.metadata if hasattr(each, name)), None) for name in ("ge", "le")
    )
    if low is None:
        return ""
    return f"at least {low:,}" if high is None else f"{low:,} to {high:,}"


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_there_with_its_default_and_range(title: str) -> None:
    rows = documented(title)
    fields = keys(SECTIONS[title])
    assert set(rows) == set(fields)
    for key, field in fields.items():
        default, range_, meaning = rows[key]
        assert meaning
        if key in WORKED_OUT:
            assert default == WORKED_OUT[key], key
        elif field.is_required():
            assert default == "required", key
        else:
            value = field.get_default(call_default_factory=True, validated_data={})
            assert tomllib.loads(f"{key} = {default.strip('`')}") == {key: value}
        assert allowed(field) in ("", range_), key


def test_every_section_is_there() -> None:
    assert set(re.findall(r"^##+ (\[.*\])$", PAGE, re.MULTILINE)) == {each for each in SECTIONS if each[0] == "["}
    reached: list[type[BaseModel]] = [NodeConfig, ExecutorProcessConfig]
    for model in reached:
        reached += [each for each in tables_of(model).values() if each not in reached]
    # An executor has the same section but for the last key.
    assert set(reached) - {TlsConfig} == set(SECTIONS.values())
    assert set(keys(NodeTlsConfig)) - set(keys(TlsConfig)) == {"client_auth"}


def test_an_executor_process_has_the_sections_that_the_page_names() -> None:
    named = " and ".join(", ".join(f"`[{key}]`" for key in tables_of(ExecutorProcessConfig)).rsplit(", ", 1))
    assert f"It has the sections {named};" in PAGE


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "node.toml"
    file.write_text(example)
    config: Any = load("node", file)
    assert len(config.peers) == 3
    assert config.executor.labels == {"zone": "a"}
