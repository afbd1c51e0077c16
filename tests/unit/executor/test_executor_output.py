from hypothesis import given
from hypothesis import strategies as st

from raftsched.executor.output import KEPT_BYTES, REPORTED_BYTES, Output, Outputs

KEY = (b"e" * 16, 1)


def filled(size_bytes: int) -> Output:
    output = Output()
    output.write(bytes(number % 251 for number in range(size_bytes)))
    return output


@given(st.lists(st.integers(0, 3 * KEPT_BYTES), max_size=8), st.integers(0, 6 * KEPT_BYTES))
def test_what_is_kept_is_the_end_of_what_was_written(sizes: list[int], offset: int) -> None:
    output, written = Output(), bytearray()
    for number, size in enumerate(sizes):
        part = bytes([number]) * size
        output.write(part)
        written += part
    assert output.size_bytes == len(written)
    assert output.tail() == bytes(written[-REPORTED_BYTES:])
    assert output.first_offset == max(0, len(written) - KEPT_BYTES)
    start, data = output.read(offset)
    assert start == min(max(offset, output.first_offset), len(written))
    assert data == bytes(written[start:])
    assert output.memory_bytes < 2 * KEPT_BYTES + 1024


def test_following_by_offset_sees_every_byte_once() -> None:
    output, seen = Output(), b""
    for number in range(100):
        output.write(b"%d," % number * 50)
        start, data = output.read(len(seen))
        assert start == len(seen)
        seen += data
    assert seen == b"".join(b"%d," % number * 50 for number in range(100))


def test_ended_output_gives_back_spare_memory() -> None:
    output = filled(2 * KEPT_BYTES)
    output.end()
    assert output.memory_bytes < KEPT_BYTES + 1024
    assert output.read(0) == (KEPT_BYTES, filled(2 * KEPT_BYTES).tail(KEPT_BYTES))


def test_oldest_ended_outputs_are_dropped_when_memory_is_short() -> None:
    outputs = Outputs(kept_bytes=3 * KEPT_BYTES)
    keys = [(bytes([number]) * 16, 1) for number in range(5)]
    for key in keys:
        outputs.open(key).write(bytes(KEPT_BYTES))
        outputs.close(key)
    assert [outputs.get(key) is not None for key in keys] == [False, False, False, True, True]


def test_outputs_of_running_attempts_are_never_dropped() -> None:
    outputs = Outputs(kept_bytes=0)
    running = outputs.open(KEY)
    running.write(b"x")
    assert outputs.get(KEY) is running
    outputs.close(KEY)
    assert outputs.get(KEY) is None
