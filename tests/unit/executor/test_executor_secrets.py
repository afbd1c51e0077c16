"""Where secrets come from, and that what is shown does not contain them."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raftsched_proto.v1 import task_pb2

from raftsched.executor.secrets import MAX_BYTES, Redactor, SecretRefused, Secrets, reveal


def test_file_comes_before_variable_and_loses_one_line_end(tmp_path: Path) -> None:
    (tmp_path / "db.password").write_bytes(b"from the file\n\n")
    source = Secrets(tmp_path, {"RAFTSCHED_SECRET_DB_PASSWORD": "from the variable", "RAFTSCHED_SECRET_A_B": "value"})
    assert source.get("db.password") == "from the file\n"
    assert source.get("a-b") == "value"
    assert Secrets(None, {"RAFTSCHED_SECRET_DB_PASSWORD": "other"}).get("db.password") == "other"


@pytest.mark.parametrize("name", ["missing", "../outside", "..", "sub/name", ""])
def test_unknown_secret_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "outside").write_text("must not be read")
    with pytest.raises(SecretRefused, match="unknown on this executor"):
        Secrets(tmp_path / "inner", {}).get(name)


def test_value_that_could_not_be_hidden_or_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    (tmp_path / "long").write_text("x" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd\xfc")
    (tmp_path / "directory").mkdir()
    for name, reason in (("short", "fewer than 4"), ("long", "more than"), ("binary", "UTF-8"), ("directory", "read")):
        with pytest.raises(SecretRefused, match=reason):
            Secrets(tmp_path, {}).get(name)


def test_action_is_revealed_in_a_copy() -> None:
    action = task_pb2.Action(http=task_pb2.HttpAction(url="http://h/${secret:path}"))
    revealed, redactor = asyncio.run(reveal(action, Secrets(None, {"RAFTSCHED_SECRET_PATH": "hidden way"})))
    assert action.http.url == "http://h/${secret:path}"
    assert revealed.http.url == "http://h/hidden way"
    assert redactor is not None
    assert redactor.text("GET http://h/hidden%20way failed: hidden way") == "GET http://h/*** failed: ***"


def test_action_without_references_is_not_touched() -> None:
    action = task_pb2.Action(http=task_pb2.HttpAction(url="http://h/"))
    assert asyncio.run(reveal(action, Secrets(None, {}))) == (action, None)


def test_escaped_reference_needs_no_secret() -> None:
    action = task_pb2.Action(http=task_pb2.HttpAction(url="http://h/$${secret:path}"))
    revealed, redactor = asyncio.run(reveal(action, Secrets(None, {})))
    assert revealed.http.url == "http://h/${secret:path}"
    assert redactor is None


def test_lines_of_a_long_secret_are_hidden_one_by_one() -> None:
    redactor = Redactor(["-----BEGIN-----\nfirst line of it\nsecond line of it\n"])
    assert redactor.text("> second line of it <") == "> *** <"


def test_value_that_could_continue_is_held_back_until_it_does_not() -> None:
    redactor = Redactor(["password"])
    assert redactor.feed(b"the pass") == b"the "
    assert redactor.feed(b"age") == b"passage"
    assert redactor.feed(b" passwor") == b" "
    assert redactor.feed(b"d!") == b"***!"
    assert redactor.feed(b"pa") == b""
    assert redactor.flush() == b"pa"


SECRET = st.text("ab", min_size=4, max_size=8)


@given(st.lists(SECRET, min_size=1, max_size=3), st.lists(st.text("abx", max_size=10), max_size=12), st.data())
def test_no_value_is_shown_however_the_output_is_cut(secrets: list[str], parts: list[str], data: st.DataObject) -> None:
    words = [data.draw(st.sampled_from(secrets)) if part.startswith("x") else part for part in parts]
    whole = " ".join(words).encode()
    redactor, shown, at = Redactor(secrets), b"", 0
    while at < len(whole):
        size = data.draw(st.integers(1, 7))
        shown += redactor.feed(whole[at : at + size])
        at += size
    shown += redactor.flush()
    assert not any(secret.encode() in shown for secret in secrets)
    assert shown == Redactor(secrets).text(whole.decode()).encode()
