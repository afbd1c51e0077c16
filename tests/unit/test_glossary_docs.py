"""docs/glossary.md names places in the code and commands that are there, and each word once."""

import re
from pathlib import Path

import pytest
from typer import main as typer_main

from raftsched.cli.main import app

ROOT = Path(__file__).parents[2]
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", (ROOT / "docs" / "glossary.md").read_text(), re.M)
ENTRIES = [(word, where) for word, where in ROWS if word not in ("word", "---")]


def test_each_word_has_one_row() -> None:
    words = [each for word, _ in ENTRIES for each in word.split(", ")]
    assert len(words) > 50
    assert sorted(set(words)) == sorted(words)


@pytest.mark.parametrize(("word", "where"), ENTRIES, ids=[word for word, _ in ENTRIES])
def test_a_word_lives_where_the_glossary_says(word: str, where: str) -> None:
    places = re.findall(r"`((?:raftsched|proto)/[^`]+)`", where)
    commands = re.findall(r"`raftsched ([^`]+)`", where)
    assert places or commands
    for place in places:
        assert (ROOT / place).exists()
    for command in commands:
        found = typer_main.get_command(app)
        for name in command.split():
            found = found.commands[name]  # type: ignore[attr-defined]  # a group of commands
