"""Settings that are secrets are shown masked."""

import json
import logging

import pytest
import structlog
from pydantic import BaseModel

from raftsched import logs
from raftsched.config import LogConfig
from raftsched.secret_setting import Secret, SecretUrl, hide


class Settings(BaseModel):
    token: Secret
    url: SecretUrl


SETTINGS = Settings.model_validate({"token": "Bearer marked-1", "url": "https://ann:marked-2@host:1/path?key=marked-3"})


@pytest.mark.parametrize(
    "shown",
    [
        str(SETTINGS), repr(SETTINGS), SETTINGS.model_dump_json(), json.dumps(SETTINGS.model_dump(mode="json")),
        f"{SETTINGS.token} {SETTINGS.url}", repr([SETTINGS.token, SETTINGS.url]),
    ],
)  # fmt: skip
def test_none_of_its_forms_has_it(shown: str) -> None:
    assert "marked" not in shown
    assert "***" in shown


def test_it_is_there_for_who_asks_and_equal_to_the_same() -> None:
    assert SETTINGS.token.reveal() == "Bearer marked-1"
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://host:9200/a/b", "https://host:9200/a/b"),
        ("https://ann:pw@host/a", "https://***@host/a"),
        ("https://host/a?token=x#y", "https://host/a?***"),
        ("/var/log/a b.jsonl", "/var/log/a b.jsonl"),
        ("-", "-"),
        ("http://[::1", "***"),
    ],
)
def test_of_a_url_is_shown_what_an_operator_needs(given: str, shown: str) -> None:
    assert str(SecretUrl(given)) == shown


def test_every_part_of_it_is_masked_wherever_it_turns_up() -> None:
    secrets = [*SETTINGS.token.parts(), *SETTINGS.url.parts(), *SecretUrl("http://h/?k=with%20blank").parts(), "ab"]
    assert hide("marked-1, ann:marked-2, x?key=marked-3: with blank (with%20blank) ab", secrets) == (
        "***, ***, x?***: *** (***) ab"
    )


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_line_of_the_log_has_it_whoever_writes_it(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, root.handlers = root.handlers, []
    try:
        logs.configure(LogConfig.model_validate({"format": form}), ["marked-1"])
        try:
            raise ValueError("of marked-1")
        except ValueError:
            structlog.get_logger("ours").exception("failed", reason="marked-1 again")
            logging.getLogger("library").exception("marked-1 as well: %s", "marked-1")
    finally:
        root.handlers = before
        structlog.reset_defaults()
    told = capsys.readouterr().err
    assert "marked-1" not in told
    for said in ("*** again", "ValueError: of ***", "*** as well: ***"):
        assert said in told
