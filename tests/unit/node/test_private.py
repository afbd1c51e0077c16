"""Closing a data directory to other users."""

import stat
from pathlib import Path

import pytest

from raftsched.node.private import make_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_one_is_made_with_its_parents(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_directory_that_holds_files_of_others_stays_and_what_is_ours_in_it_is_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "passwd").write_text("")
    (tmp_path / "passwd").chmod(0o644)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs").chmod(0o755)
    (tmp_path / "outputs" / "one").write_text("")
    (tmp_path / "outputs" / "one").chmod(0o644)
    make_private(tmp_path)
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "passwd") == 0o644
    assert mode(tmp_path / "outputs") == 0o700
    assert mode(tmp_path / "outputs" / "one") == 0o600
    assert "none of ours" in capsys.readouterr().out


def test_a_link_in_place_of_a_directory_of_ours_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (elsewhere / "file").write_text("")
    (elsewhere / "file").chmod(0o644)
    data = tmp_path / "data"
    data.mkdir()
    (data / "outputs").symlink_to(elsewhere)
    make_private(data)
    assert mode(elsewhere) == 0o755
    assert mode(elsewhere / "file") == 0o644


def test_a_data_directory_that_is_a_link_is_closed(tmp_path: Path) -> None:
    """The operator has named it, and it is what others can get at."""
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    (tmp_path / "data").symlink_to(there)
    make_private(tmp_path / "data")
    assert mode(there) == 0o700
