"""A directory knows where it is: a copy is elsewhere, one that was moved is not."""

import shutil
from pathlib import Path

import pytest

from raftsched.store.place import elsewhere, place_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "data.mdb"
    path.write_bytes(b"rows")
    return path


def test_a_file_that_is_written_to_and_moved_with_its_directory_stays_where_it_is(data: Path) -> None:
    before = place_of(data)
    data.write_bytes(b"other rows")
    data.chmod(0o600)
    moved = data.parent.rename(data.parent.parent / "moved") / "data.mdb"
    assert elsewhere(before, place_of(moved)) == ""


def test_a_copy_is_elsewhere_and_says_where_the_original_was(data: Path) -> None:
    copy = Path(shutil.copytree(data.parent, data.parent.parent / "copy")) / "data.mdb"
    said = elsewhere(place_of(data), place_of(copy))
    assert "its files are copies" in said
    assert str(data.parent) in said


def test_a_copy_that_took_the_place_of_the_original_is_told(data: Path) -> None:
    before = place_of(data)
    for _ in range(20):
        # The file system may give out the inode that has just become free.
        backup = shutil.copytree(data.parent, data.parent.parent / "backup")
        shutil.rmtree(data.parent)
        Path(backup).rename(data.parent)
        assert "its files are copies" in elsewhere(before, place_of(data))


def test_another_machine_is_elsewhere_where_both_are_known() -> None:
    assert "another machine" in elsewhere("/d\none\n7:9", "/d\ntwo\n7:9")
    assert elsewhere("/d\none\n7:9", "/d\n\n7:9") == ""
    assert elsewhere("", "/d\none\n7:9") == ""
