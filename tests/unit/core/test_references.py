"""References to secrets in the texts of an action."""

import pytest
from raftsched_proto.v1 import task_pb2

from raftsched.definitions import references


def look(name: str) -> str:
    return f'<{name}"\n>'


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("", ""),
        ("no reference $HOME ${HOME} $$", "no reference $HOME ${HOME} $$"),
        ("Bearer ${secret:api-key}!", 'Bearer <api-key"\n>!'),
        ("${secret:a}${secret:b}", '<a"\n><b"\n>'),
        ("$${secret:a}", "${secret:a}"),
        ("$${secret:a} ${secret:a}", '${secret:a} <a"\n>'),
        ("${secret:}", "${secret:}"),
        ("${secret:../x}", "${secret:../x}"),
        ("${secret:open", "${secret:open"),
    ],
)
def test_references_are_replaced_and_escaped_ones_are_kept(text: str, replaced: str) -> None:
    assert references.replace(text, look) == replaced


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("${secret:fine} $${secret:}", ""),
        ("a ${secret:} b", "${secret:}"),
        ("${secret:a b}", "${secret:a b}"),
        ("${secret:../../etc/shadow}", "${secret:../../etc/shadow}"),
        ("${secret:" + "n" * 129 + "}", "${secret:" + "n" * 129 + "}"),
        ("${secret:open", "${secret:open"),
    ],
)
def test_malformed_reference_is_found(text: str, wrong: str) -> None:
    assert references.malformed(text) == wrong


def test_every_text_of_an_action_is_reached() -> None:
    command = task_pb2.CommandAction(
        argv=["a", "${secret:one}"], env={"K": "${secret:two}"}, stdin=b"x${secret:three}", working_directory="/"
    )
    action = task_pb2.Action(command=command)
    assert dict(references.texts(action))["command.stdin"] == "x${secret:three}"
    references.resolve(action, str.upper)
    assert list(action.command.argv) == ["a", "ONE"]
    assert action.command.env["K"] == "TWO"
    assert action.command.stdin == b"xTHREE"


def test_bytes_that_are_no_text_stay() -> None:
    action = task_pb2.Action(command=task_pb2.CommandAction(stdin=b"\xff${secret:a}"))
    references.resolve(action, str.upper)
    assert action.command.stdin == b"\xff${secret:a}"


def test_value_in_json_text_is_escaped() -> None:
    action = task_pb2.Action(python=task_pb2.PythonAction(kwargs_json='{"k": "${secret:a}"}'))
    references.resolve(action, look)
    assert action.python.kwargs_json == '{"k": "<a\\"\\n>"}'
