"""What is exported is read again as it was, whatever the texts are, and any file at all is read or refused."""

import base64
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from raftsched_client import Task

from raftsched.cli.failures import Failure
from raftsched.cli.files.json_reader import read_json
from raftsched.cli.files.taskfile import documents
from raftsched.cli.files.taskform import from_document, to_document
from raftsched.cli.files.toml_reader import read_toml
from raftsched.cli.files.values import Scalar
from raftsched.cli.files.yaml_reader import read_yaml
from raftsched.cli.show.output import yaml_text
from raftsched.toml_text import line_of_key

HOSTILE = (
    "NO", "no", "off", "Yes", "y", "n", "true", "~", "null", "", " ", "=", "<<", "!", "!!str", "&a", "*a", "- a",
    "a: b", "# c", "0755", "010", "1_000", "0o14", "0x1F", "0b1", "22:22", "12:30:45", "1.10", "1e3", "1.", ".5",
    ".inf", "-.INF", ".nan", "+1", "08", "2026-01-01", "2026-01-01 00:00:00", "9" * 400, "|", ">", "%", "@", "`",
    "---", "...", "?", ":", ",", "[", "{", "'", '"', "a\n", "\na", "a\n\n", " a\n b", "a\r\nb", "\t", "\tx",
    "a\u0085b", "a\u2028b", "\ufeff", "\x7f", "\U0001f600", "\u00e9", "a  b " * 40, "x" * 200, "\\", "\\n", "a\\\nb",
    "\x1b[31m", "\x00", "\ue000", "\ufffe",
)  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    task = Task(name=draw(texts), group=draw(texts), priority=draw(st.integers(-(2**31), 2**31 - 1)))
    task.labels.update(draw(st.dictionaries(texts, texts, max_size=3)))
    if draw(st.booleans()):
        command = task.action.command
        command.argv.extend(draw(st.lists(texts, max_size=3)))
        command.env.update(draw(st.dictionaries(texts, texts, max_size=3)))
        command.working_directory = draw(texts)
        command.stdin = draw(st.one_of(st.binary(max_size=20), texts.map(str.encode)))
    else:
        task.action.python.callable = draw(texts)
        task.action.python.kwargs_json = draw(st.one_of(texts, values.map(json.dumps)))
    task.time_limit.FromMicroseconds(draw(st.integers(1, 10**14)))
    task.schedule.at.FromMicroseconds(draw(st.integers(1, 10**15)))
    task.paused = draw(st.booleans())
    return task


def read_again(document: object) -> Task:
    task = Task()
    from_document(document, task, Path())  # type: ignore[arg-type]  # what a reader gives
    return task


@given(tasks())
def test_what_is_exported_is_read_again_as_it_was(task: Task) -> None:
    document = to_document(task)
    (from_yaml,) = read_yaml("t.yaml", yaml_text(document))
    assert read_again(from_yaml) == task
    assert read_again(read_json("t.json", json.dumps(document, ensure_ascii=False))) == task
    (from_input,) = documents("-", json.dumps(document, ensure_ascii=False))
    assert read_again(from_input) == task


@given(st.lists(texts, max_size=4), st.dictionaries(texts, texts, max_size=3))
def test_what_is_exported_says_the_same_to_other_readers(argv: list[str], env: dict[str, str]) -> None:
    text = yaml_text({"argv": argv, "env": env})
    assert yaml.safe_load(text) == {"argv": argv, "env": env}
    (read,) = read_yaml("t.yaml", text)
    # Quoted unless version 1.2 sees a text in it too.
    for scalar in [*read["argv"], *read["env"].values()]:
        assert not (isinstance(scalar, Scalar) and scalar.plain) or is_text_in_core_schema(scalar)


def is_text_in_core_schema(text: Scalar) -> bool:
    from raftsched.cli.files.values import core

    return isinstance(core(text), str)


@given(
    st.lists(st.sampled_from(["a", "NO", "0755", "22:22", "1.10", "off", "2026-01-01", "1_000", "0o14", "yes", "~"]))
)
def test_an_unquoted_text_is_what_was_written(words: list[str]) -> None:
    (document,) = read_yaml("t.yaml", f"action: {{command: {{argv: [{', '.join(words)}]}}}}\n")
    assert list(read_again(document).action.command.argv) == words


pieces = st.sampled_from(
    [*"[]{}:,-#&*!|>'\"%@`?\n \t~a1", "<<", "- ", ": ", "\n  ", "---\n", "...", "!!str ", "&a ", "*a", "\r\n", "\x00"]
)


@given(st.lists(pieces, max_size=40).map("".join))
@example("[" * 100_000)
@example("{a: " * 100_000)
@example("- " * 100_000)
@example("? " * 10_000)
@example("&a [*a]")
def test_any_text_is_yaml_or_refused_with_its_place(text: str) -> None:
    try:
        read_yaml("t.yaml", text)
    except Failure as failure:
        refusal = str(failure)
    else:
        return
    assert refusal.startswith("t.yaml:")


json_pieces = st.sampled_from([*'[]{}:,"\n \t\\u', "null", "1", '"a"', "NaN", "1e999", '"\\ud800"'])


@given(st.lists(json_pieces, max_size=40).map("".join))
@example("[" * 100_000)
@example('{"a":' * 100_000)
def test_any_text_is_json_or_refused_with_its_place(text: str) -> None:
    refusal = ""
    try:
        ours = read_json("t.json", text)
    except Failure as failure:
        refusal = str(failure)
    if refusal:
        assert refusal.startswith("t.json")
        with pytest.raises((ValueError, RecursionError)):
            json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constant)
    else:
        assert ours == json.loads(text, parse_int=str, parse_float=str)


def no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


def no_constant(word: str) -> object:
    raise ValueError(word)


statements = st.sampled_from(
    ["a{n} = 1", 'a{n} = """\n\nx = 2\n"""', "a{n} = [\n 1,\n\n 2]", "# c", "", "[t{n}]", "[[u]]", "x.a{n} = 1"]
)


@given(st.lists(statements, max_size=12))
def test_the_line_of_a_toml_key_is_where_its_statement_begins(chosen: list[str]) -> None:
    text, wanted, table, count = "", {}, (), 0
    for number, statement in enumerate(chosen):
        line = text.count("\n") + 1
        if statement == "[[u]]":
            table = ("u", count)
            count += 1
            wanted[table] = line
        elif statement.startswith("[t"):
            table = (f"t{number}",)
            wanted[table] = line
        elif "=" in statement:
            key = ("x", f"a{number}") if statement.startswith("x.") else (f"a{number}",)
            wanted[(*table, *key)] = line
        text += statement.format(n=number) + "\n"
    read_toml("t.toml", text)
    assert {path: line_of_key(text, path) for path in wanted} == wanted
    assert line_of_key(text, ("none",)) == 0


def test_a_base64_text_in_a_file_stays_what_it_is() -> None:
    (document,) = read_yaml("t.yaml", f"action: {{http: {{body: {base64.b64encode(bytes(range(256))).decode()}}}}}")
    assert read_again(document).action.http.body == bytes(range(256))
