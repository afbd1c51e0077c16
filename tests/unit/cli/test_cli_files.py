"""Files that people write: what stands there is what is meant, or the file, the line and the field are named."""

import io
import json

import pytest
import yaml

from raftsched.cli.failures import Failure
from raftsched.cli.files.taskfile import read_tasks
from raftsched.cli.files.taskform import to_document
from raftsched.cli.files.values import Scalar, core
from raftsched.cli.files.yaml_reader import read_yaml


def tasks_of(tmp_path, text: str, suffix: str = ".yaml"):
    (tmp_path / f"t{suffix}").write_bytes(text.encode() if isinstance(text, str) else text)
    return read_tasks(str(tmp_path / f"t{suffix}"))


def refusal(tmp_path, monkeypatch, text, suffix: str = ".yaml") -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"t{suffix}").write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(Failure) as refused:
        read_tasks(f"t{suffix}")
    return str(refused.value)


def command(text: str) -> str:
    return f"name: t\naction: {{command: {{argv: [{text}]}}}}\n"


@pytest.mark.parametrize(
    "word",
    ["NO", "no", "off", "Yes", "y", "true", "TRUE", "~", "null", "0755", "010", "08", "1_000", "0o14", "0x1F", "0b101",
     "22:22", "12:30:45", "1.10", "1e3", ".5", ".inf", "-.INF", ".nan", "+1", "2026-01-01", "2026-01-01T00:00:00Z",
     "9" * 900, "=", "-m", "größe"],
)  # fmt: skip
def test_a_text_without_quotation_marks_is_what_was_written(tmp_path, word):
    (task,) = tasks_of(tmp_path, command(word))
    assert list(task.action.command.argv) == [word]
    text = f"name: {word}\ngroup: {word}\nlabels: {{{word}: {word}}}\naction: {{command: {{env: {{{word}: {word}}}}}}}"
    (task,) = tasks_of(tmp_path, text)
    assert (task.name, task.group) == (word, word)
    assert dict(task.labels) == dict(task.action.command.env) == {word: word}


def test_what_was_reported_arrives_as_written(tmp_path):
    (task,) = tasks_of(
        tmp_path,
        "name: t\naction:\n  command:\n"
        "    argv: [docker, run, -p, 22:22, --at, 12:30:45, --flag, off, -m, 0755]\n"
        "    env: {COUNTRY: NO, N: 010, V: 1.10, EMPTY: }\n",
    )
    assert list(task.action.command.argv) == [
        "docker",
        "run",
        "-p",
        "22:22",
        "--at",
        "12:30:45",
        "--flag",
        "off",
        "-m",
        "0755",
    ]
    assert dict(task.action.command.env) == {"COUNTRY": "NO", "N": "010", "V": "1.10", "EMPTY": ""}


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("1.10", "1.10"),
        ("1E3", "1E3"),
        ("12345678901234567890", "12345678901234567890"),
        ("true", "true"),
        ("-0", "-0"),
    ],
)
def test_a_number_in_json_is_a_text_where_a_text_belongs(tmp_path, written, text):
    (task,) = tasks_of(tmp_path, f'{{"name": "t", "action": {{"command": {{"argv": [{written}]}}}}}}', ".json")
    assert list(task.action.command.argv) == [text]


def test_a_file_may_begin_with_a_byte_order_mark_and_end_its_lines_as_on_any_system(tmp_path):
    for suffix, text in ((".yaml", "name: t\r\ngroup: g\r\n"), (".toml", 'name = "t"\r\ngroup = "g"\r\n')):
        (task,) = tasks_of(tmp_path, "\ufeff" + text, suffix)
        assert (task.name, task.group) == ("t", "g")
    (task,) = tasks_of(tmp_path, '\ufeff{"name": "t"}', ".json")
    assert task.name == "t"


def test_standard_input_is_utf_8_whatever_the_locale_is(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("name: t\ngroup: größe\n".encode()), "ascii"))
    (task,) = read_tasks("-")
    assert task.group == "größe"


def test_documents_anchors_and_merge_keys_are_read(tmp_path):
    tasks = tasks_of(
        tmp_path,
        "base: &base {group: g, priority: 3}\ntasks: []\n".replace("base: &base", "# ")
        + "---\n- &first {name: a, group: g, priority: 3}\n- {<<: *first, name: b, group: h}\n---\n"
        + "name: c\nlabels: &l {x: NO}\nexecutorLabels: {<<: [*l, {y: off, x: later}]}\n...\n---\n",
    )
    assert [(t.name, t.group, t.priority) for t in tasks] == [("a", "g", 3), ("b", "h", 3), ("c", "", 0)]
    assert dict(tasks[2].executor_labels) == {"x": "NO", "y": "off"}


@pytest.mark.parametrize(
    ("written", "value"),
    [("true", True), ("False", False), ("yes", True), ("off", False), ("", False), ("~", False), ("null", False)],
)
def test_a_truth_value_is_read_where_one_belongs(tmp_path, written, value):
    (task,) = tasks_of(tmp_path, f"name: t\npaused: {written}\n")
    assert task.paused is value


@pytest.mark.parametrize(
    ("written", "value"), [("5", 5), ("-5", -5), ("+5", 5), ("0o14", 12), ("0x1F", 31), ("5.0", 5), ("1e2", 100)]
)
def test_a_number_is_read_where_one_belongs(tmp_path, written, value):
    (task,) = tasks_of(tmp_path, f"name: t\npriority: {written}\n")
    assert task.priority == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: t\nlabels:\n  a: 1\n  b: 2\n  a: 3\n", "t.yaml:5: the key 'a' is there twice, first in line 3"),
        ("name: t\n\tgroup: g\n", "t.yaml:2: is not YAML: "),
        ("name: t\nlabels:\n\ta: b\n", "YAML allows no tabs in front of a key"),
        ("name: t\npriority: 010\n", "t.yaml:2: task 1 (t): priority: 010 is octal for some and decimal for others"),
        ("name: t\npriority: 1.5\n", "t.yaml:2: task 1 (t): priority: 1.5 is no whole number"),
        ("name: t\npriority: 1_000\n", "t.yaml:2: task 1 (t): priority: '1_000' is no number"),
        ("name: t\npriority: 9e99999999\n", "t.yaml:2: task 1 (t): priority: 9e99999999 is too large"),
        ("name: t\npriority: " + "9" * 5000, "t.yaml:2: task 1 (t): priority: the number has 5000 characters"),
        ("name: t\npriority: 3000000000\n", "priority: '3000000000' is not within -2147483648 to 2147483647"),
        ("name: t\npaused: maybe\n", "t.yaml:2: task 1 (t): paused: must be true or false, not 'maybe'"),
        ("name: t\naction:\n  command:\n    argv:\n    - a\n    - [b]\n", "argv[1]: must be a text, not ['b']"),
        ("name: t\naction:\n  command:\n    argv: a\n", "t.yaml:4: task 1 (t): action.command.argv: must be a list"),
        ("name: t\nlabels:\n  a:\n    b: c\n", "t.yaml:4: task 1 (t): labels.a: must be a text, not {'b': 'c'}"),
        ("name: t\ntimeLimit: 1h\ntime_limit: 2h\n", "t.yaml:3: task 1 (t): time_limit: is there twice"),
        ("name: t\naction:\n  noop: {}\n  http: {}\n", "t.yaml:4: task 1 (t): action.http: cannot stand beside noop"),
        ("name: t\nschedule: {at: tomorrow}\n", "t.yaml:2: task 1 (t): schedule.at: 'tomorrow' is no time; write 2026"),
        ("name: t\nschedule: {at: 2026-01-01}\n", "schedule.at: '2026-01-01' is no time; write 2026-01-31T09:00"),
        ("name: t\naction: {http: {body: '?'}}\n", "t.yaml:2: task 1 (t): action.http.body: must be base64"),
        ("name: t\naction: {http: {body: {file: none}}}", "action.http.body: cannot read none: No such file"),
        ("name: t\naction: {http: {body: {file: \"a\\0b\"}}}", "action.http.body: cannot read a\0b: embedded null"),
        ("name: !!python/object:os.system x\n", "t.yaml:1: the tag tag:yaml.org,2002:python/object:os.system is not"),
        ("name: !vault x\n", "t.yaml:1: the tag !vault is not known; leave it out"),
        ("? [a]\n: b\n", "t.yaml:1: a key must be a text"),
        ("name: *x\n", "t.yaml:1: there is no complete value &x above *x"),
        ("labels: &x {a: *x}\n", "t.yaml:1: there is no complete value &x above *x"),
        ("name: t\n<<: 5\n", "t.yaml:2: << takes a mapping, or a list of mappings"),
        ("a:\n- " + "[" * 200, "t.yaml:2: values are nested more than 100 deep"),
        ("name: \x07\n", "t.yaml:1: is not YAML: character #x0007: control characters are not allowed"),
        ("tasks: 5\n", "t.yaml:1: tasks must be a list"),
        ("tasks:\n- 5\n", "t.yaml:2: task 1 is not a mapping"),
        ("5\n", "t.yaml:1: task 1 is not a mapping"),
        (b"name: t\n# caf\xe9\n", "t.yaml:2: byte 0xe9 is not UTF-8; if the file is in Latin-1, convert it"),
        ("name: t\n".encode("utf-16"), "t.yaml is in UTF-16LE, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
        ("name: t\naction: {python: {kwargsJson: {a: [0755]}}}", "kwargsJson: 0755 is octal for some and decimal"),
        ("name: t\naction: {python: {kwargsJson: {a: .inf}}}", "kwargsJson: JSON has no .inf; put it in quotation"),
        ("name: t\naction: {python: {kwargsJson: {a: 1e999}}}", "kwargsJson: 1e999 is too large"),
    ],
)  # fmt: skip
def test_yaml_is_refused_with_file_line_and_field(tmp_path, monkeypatch, text, message):
    assert message in refusal(tmp_path, monkeypatch, text)


def test_aliases_that_multiply_are_refused_at_once(tmp_path, monkeypatch):
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    message = refusal(tmp_path, monkeypatch, f"a0: &a0 [x]\n{levels}\nname: t\n")
    assert message == "t.yaml:6: aliases repeat more than 200,000 values"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"name": "t",\n "labels": {"a": "b",\n "a": "c"}}', "t.json:3: is not JSON: the key 'a' is there twice"),
        ('{"name": "t",\n "priority": NaN}', "t.json:2: is not JSON: JSON has no NaN"),
        ('{"name": "t",\n "priority": 1.5}', "t.json:2: task 1 (t): priority: 1.5 is no whole number"),
        ('{"name": "t",\n "labels": {\n"a": null}}', "t.json:3: task 1 (t): labels.a: must be a text, not noth"),
        ('{"name": "t",\n "labels": {\n"a": "\\ud800"}}', "t.json:3: task 1 (t): labels.a: holds half of a character"),
        ('{"name": "t",\n "colour": 1}', "t.json:2: task 1 (t): there is no key 'colour'"),
        ('{"name": "t"', "t.json:1: is not JSON: Expecting ',' or '}' (column 13)"),
        ("{'name': 't'}", "t.json:1: is not JSON: Expecting a key in double quotation marks (column 2)"),
        ("[" * 100_000, "t.json is nested too deeply"),
    ],
)  # fmt: skip
def test_json_is_refused_with_file_line_and_field(tmp_path, monkeypatch, text, message):
    assert message in refusal(tmp_path, monkeypatch, text, ".json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "t"\nlabels = {\n', "t.toml:2: is not TOML: "),
        ('name = "t"\nname = "u"\n', "t.toml:2: is not TOML: Cannot overwrite a value"),
        ('name = "t"\n# c\n[labels]\na = "b"\nc = 0o14\n', "t.toml:5: task 1 (t): labels.c: must be a text, not 12;"),
        ('name = "t"\n[action.command]\nargv = [\n "a",\n 1.10]\n', "t.toml:3: task 1 (t): action.command.argv[1]:"),
        ('[[tasks]]\nname = "t"\n[[tasks]]\nname = "u"\ngroup = 2026-01-01\n', "t.toml:5: task 2 (u): group: must"),
        ('name = "t"\ncolour = 1\n', "t.toml:2: task 1 (t): there is no key 'colour'"),
        ('name = "t"\npriority = nan\n', "t.toml:2: task 1 (t): priority: 'nan' is no number"),
        ('name = "t"\n[schedule]\nat = 2100-01-01T00:00:00\n', "t.toml:3: task 1 (t): schedule.at: 2100-01-01 00:00"),
        (b'name = "caf\xe9"\n', "t.toml:1: byte 0xe9 is not UTF-8"),
        ("a = " + "[" * 100_000, "t.toml:1: is not TOML: is nested too deeply"),
    ],
)  # fmt: skip
def test_toml_is_refused_with_file_line_and_field(tmp_path, monkeypatch, text, message):
    assert message in refusal(tmp_path, monkeypatch, text, ".toml")


def test_a_json_text_follows_the_core_schema_of_yaml_1_2(tmp_path):
    written = (
        "[NO, off, 22:22, 1_000, 2026-01-01, 0o14, 0x1F, 1.5, 1e2, -7, ~, null, '', 'true', TRUE, \"5\", 12:30:45]"
    )
    (task,) = tasks_of(tmp_path, f"name: t\naction: {{python: {{kwargsJson: {{a: {written}}}}}}}\n")
    assert json.loads(task.action.python.kwargs_json) == {
        "a": ["NO", "off", "22:22", "1_000", "2026-01-01", 12, 31, 1.5, 100.0, -7, None, None, "", "true", True, "5",
              "12:30:45"]
    }  # fmt: skip


def test_a_json_text_may_be_any_text_that_was_written(tmp_path):
    (task,) = tasks_of(tmp_path, "name: t\naction: {lambda: {payloadJson: 1.10}}\n".replace("lambda", "awsLambda"))
    assert task.action.aws_lambda.payload_json == "1.10"


def test_explicit_tags_say_what_is_meant():
    (document,) = read_yaml("t", "a: !!str 0755\nb: !!int '5'\nc: !!binary |\n  YQ\n  ==\n")
    assert {key: (str(value), value.plain) for key, value in document.items()} == {
        "a": ("0755", False),
        "b": ("5", True),
        "c": ("YQ==", False),
    }
    assert core(Scalar("5", plain=True)) == 5


def test_export_quotes_what_other_readers_take_for_no_text(cli, cluster, tmp_path):
    (tmp_path / "t.yaml").write_text(
        command("NO, 0755, 0o14, 1e3, y, 22:22, plain") + "schedule: {interval: {every: 1m}}"
    )
    assert cli("task", "create", "-f", str(tmp_path / "t.yaml")).code == 0
    out = cli("export").out
    assert "every: 1m" in out
    assert yaml.safe_load(out)["tasks"][0]["action"]["command"]["argv"][:2] == ["NO", "0755"]
    assert [
        word for word in ("'NO'", "'0755'", "'0o14'", "'1e3'", "'y'", "'22:22'", "- plain") if word not in out
    ] == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.yaml", "name: t\nowner: Team A\ndescription: |\n  # Report\n  Runs *nightly*.\n"),
        ("t.toml", 'name = "t"\nowner = "Team A"\ndescription = """\n# Report\nRuns *nightly*.\n"""\n'),
        ("t.json", '{"name": "t", "owner": "Team A", "description": "# Report\\nRuns *nightly*.\\n"}'),
    ],
)
def test_files_of_every_form_hold_a_description_and_an_owner(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    (task,) = read_tasks(str(tmp_path / name))
    assert (task.owner, task.description) == ("Team A", "# Report\nRuns *nightly*.\n")
    assert to_document(task) == {"name": "t", "description": task.description, "owner": "Team A"}
