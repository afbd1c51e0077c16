import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftsched.outputs.files import PIECE_BYTES, OutputDamaged, OutputFiles, StoredOutput, find

DAY_S = 24 * 3600


class Clock:
    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000
        self.s = 5_000.0

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.s

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)
        self.s += seconds


def files(directory: Path, clock: Clock | None = None, *, keep_s: int = DAY_S, max_bytes: int = 1 << 30) -> OutputFiles:
    clock = clock or Clock()
    return OutputFiles(directory, keep_s=keep_s, max_bytes=max_bytes, now_us=clock.now_us, monotonic=clock.monotonic)


def key(number: int) -> tuple[bytes, int]:
    return number.to_bytes(16, "big"), 1


def put(store: OutputFiles, number: int, data: bytes) -> bytes:
    digest = hashlib.sha256(data).digest()
    store.put(key(number), StoredOutput(len(data), len(data), data), digest)
    return digest


def all_of(stored: StoredOutput, offset: int = 0) -> list[tuple[int, bytes]]:
    pieces = []
    while True:
        offset, data = stored.read(offset)
        if not data:
            return pieces
        pieces.append((offset, data))
        offset += len(data)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 1000), st.integers(0, 2000))
def test_reading_from_an_offset_gives_all_that_is_stored_behind_it(
    head: bytes, tail: bytes, dropped: int, offset: int
) -> None:
    size = len(head) + dropped + len(tail)
    stored = StoredOutput(size, len(head), head + tail)
    whole = dict(enumerate(head)) | {size - len(tail) + at: byte for at, byte in enumerate(tail)}
    read = {at + number: byte for at, data in all_of(stored, offset) for number, byte in enumerate(data)}
    assert read == {at: byte for at, byte in whole.items() if at >= offset}


def test_a_long_output_is_read_in_pieces() -> None:
    data = bytes(range(256)) * 4096
    pieces = all_of(StoredOutput(len(data), len(data), data))
    assert {len(piece) for _, piece in pieces} == {PIECE_BYTES}
    assert b"".join(piece for _, piece in pieces) == data


def test_what_was_written_is_there_after_the_end_and_after_a_restart(tmp_path: Path) -> None:
    store = files(tmp_path)
    file = store.create(key(1))
    file.append(b"beginning ")
    file.append(b"and more")
    assert file.read(4) == b"nning and more"
    digest = file.finish(1_000, b" the end")
    file.close()
    store.keep(key(1))
    assert digest == hashlib.sha256(b"beginning and more the end").digest()
    for again in (store, files(tmp_path)):
        stored = again.load(key(1), digest)
        assert stored == StoredOutput(1_000, 18, b"beginning and more the end")
        assert all_of(stored) == [(0, b"beginning and more"), (992, b" the end")]
    assert store.load(key(2)) is None


def test_what_a_crash_left_unfinished_is_read_as_far_as_it_goes_and_never_taken_for_a_digest(tmp_path: Path) -> None:
    file = files(tmp_path).create(key(1))
    file.append(b"so far")
    file.close()
    store = files(tmp_path)
    assert store.load(key(1)) == StoredOutput(6, 6, b"so far")
    with pytest.raises(OutputDamaged):
        store.load(key(1), hashlib.sha256(b"so far").digest())


@pytest.mark.parametrize("position", [0, 9, 20, 40, 60, 64, 70, -1])
def test_any_flipped_byte_is_noticed(tmp_path: Path, position: int) -> None:
    store = files(tmp_path / "a")
    digest = put(store, 1, b"precious output")
    (path,) = (tmp_path / "a").iterdir()
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(OutputDamaged):
        store.load(key(1), digest)
    put(files(tmp_path / "b"), 1, b"precious output")
    found = find((tmp_path / "a", tmp_path / "b"), key(1), digest)
    assert found is not None
    assert found.data == b"precious output"


def test_a_copy_that_is_not_that_of_its_digest_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    store = files(tmp_path)
    with pytest.raises(OutputDamaged):
        store.put(key(1), StoredOutput(4, 4, b"data"), hashlib.sha256(b"other").digest())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "head", "data"), [(3, 4, b"data"), (4, 5, b"data"), (4, -1, b"data")])
def test_numbers_that_fit_no_output_are_refused(size: int, head: int, data: bytes) -> None:
    with pytest.raises(ValueError, match="no output is so"):
        StoredOutput(size, head, data)


def test_the_oldest_go_when_there_is_too_much(tmp_path: Path) -> None:
    store = files(tmp_path, max_bytes=5_000)
    for number in range(10):
        put(store, number, bytes(1_000))
    assert [number for number in range(10) if store.load(key(number))] == [6, 7, 8, 9]
    assert store.deleted == 6


def test_what_is_too_old_goes_a_few_at_a_time(tmp_path: Path) -> None:
    clock = Clock()
    store = files(tmp_path, clock, keep_s=60)
    for number in range(40):
        put(store, number, b"x")
    assert store.sweep() == 0
    clock.advance(61)
    steps = [store.sweep() for _ in range(4)]
    assert sum(steps) == 40
    assert max(steps) < 40
    assert list(tmp_path.iterdir()) == []


def test_nothing_goes_by_its_age_while_the_time_is_not_known(tmp_path: Path) -> None:
    clock = Clock()
    store = files(tmp_path, clock, keep_s=60)
    for number in range(3):
        put(store, number, b"x")
    clock.us = 0
    for again in (store, files(tmp_path, clock, keep_s=60)):
        assert again.sweep() == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_ages_outlive_a_restart_and_are_not_those_of_the_machine(tmp_path: Path) -> None:
    clock = Clock()
    put(files(tmp_path, clock, keep_s=60), 1, b"x")
    clock.advance(59)
    again = files(tmp_path, clock, keep_s=60)
    assert again.sweep() == 0
    clock.advance(1.9)
    assert again.sweep() == 0
    clock.advance(4.2)
    assert again.sweep() == 1


def test_a_file_of_a_clock_that_was_ahead_is_kept_for_its_time_and_no_longer(tmp_path: Path) -> None:
    clock = Clock()
    clock.us += 40 * DAY_S * 1_000_000
    put(files(tmp_path, clock), 1, b"x")
    clock.us -= 40 * DAY_S * 1_000_000
    store = files(tmp_path, clock)
    assert store.sweep() == 0
    clock.advance(DAY_S)
    assert store.sweep() == 0
    clock.advance(0.001)
    assert store.sweep() == 1


def test_a_time_that_jumps_makes_nothing_old_at_once(tmp_path: Path) -> None:
    clock = Clock()
    store = files(tmp_path, clock)
    for number in range(3):
        put(store, number, b"x")
    clock.us += 40 * DAY_S * 1_000_000
    clock.advance(60)
    assert (store.sweep(), files(tmp_path, clock).sweep()) == (0, 0)
    clock.us -= 40 * DAY_S * 1_000_000
    clock.advance(DAY_S - 120)
    assert store.sweep() == 0
    clock.advance(61)
    assert store.sweep() == 3


def test_a_replaced_file_counts_once(tmp_path: Path) -> None:
    store = files(tmp_path, max_bytes=2_500)
    put(store, 1, bytes(500))
    for _ in range(10):
        put(store, 2, bytes(1_000))
    assert store.load(key(1)) is not None
