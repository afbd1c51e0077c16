"""Stored outputs come into the text index after their records, and leave it with them."""

import hashlib
from collections.abc import Iterator

import pytest

from raftsched.clock import SystemClock
from raftsched.core.state.rows import ExecutionRow
from raftsched.history.outputs import MAX_TRIES, OutputFetcher, OutputIndexer, excerpt
from raftsched.outputs.files import OutputFiles, StoredOutput
from tests.support.history_bench import Bench, retire
from tests.support.machine_driver import SECOND

LIMIT = 256 << 10


class Time(SystemClock):
    """Goes on when it is told to."""

    now = 0

    def now_us(self) -> int:
        return self.now


class Executors:
    """Outputs by execution; those that are not there cannot be had."""

    def __init__(self) -> None:
        self.texts: dict[bytes, str] = {}
        self.asked = 0

    def __call__(self, execution_id: bytes, row: ExecutionRow) -> str | None:
        self.asked += 1
        return self.texts.get(execution_id)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path / "index.sqlite")


@pytest.fixture
def executors() -> Executors:
    return Executors()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def outputs(bench, executors, time) -> Iterator[OutputIndexer]:
    with OutputIndexer(bench.index, executors, time.now_us) as outputs:
        yield outputs


def work(outputs: OutputIndexer) -> None:
    """Until nothing is due. Spins while the thread reads."""
    while outputs.step(5.0) < 5.0:
        pass


def stored(bench: Bench, text: str) -> bytes:
    """A run whose output is in a file, and its end in the log; its id."""
    entries = bench.run("job", stored=text.encode())
    bench.tell(entries)
    return entries[0].executions[0]


def test_a_word_in_the_middle_is_found_once_the_output_has_been_read(bench, executors, outputs):
    text = "begin " + "filler " * 20_000 + "needle " + "filler " * 20_000 + "tailword"
    key = stored(bench, text)
    assert bench.keys(query="tailword") == [key]
    assert bench.keys(query="needle") == []
    executors.texts[key] = text
    work(outputs)
    assert bench.keys(query="needle") == bench.keys(query="tailword") == bench.keys(query="begin") == [key]
    (hit,) = bench.hits(query="needle")
    assert "needle" in hit.snippet
    assert executors.asked == 1


def test_what_cannot_be_had_yet_is_asked_for_again_and_at_last_counted(bench, executors, outputs, time):
    late, never = stored(bench, "x" * 5000 + " late"), stored(bench, "y" * 5000)
    work(outputs)
    assert executors.asked == 2
    work(outputs)
    assert executors.asked == 2, "nothing is due yet"
    executors.texts[late] = "found lately"
    for _ in range(MAX_TRIES):
        time.now += 601 * SECOND
        work(outputs)
    assert bench.keys(query="lately") == [late]
    assert bench.index.number("missing_outputs") == 1
    assert executors.asked == 2 + MAX_TRIES
    assert bench.keys() == [never, late]


def test_the_queue_outlives_the_process(bench, executors, time):
    key = stored(bench, "z" * 5000)
    bench.index.sql.close()
    bench.open(bench.path)
    executors.texts[key] = "after the restart"
    with OutputIndexer(bench.index, executors, time.now_us) as outputs:
        work(outputs)
    assert bench.keys(query="restart") == [key]


def test_an_index_that_is_made_anew_finds_it_again(bench, executors, time, tmp_path):
    key = stored(bench, "z" * 5000)
    executors.texts[key] = "needle"
    bench.open(tmp_path / "anew.sqlite")
    bench.catch_up()
    with OutputIndexer(bench.index, executors, time.now_us) as outputs:
        work(outputs)
    assert bench.keys(query="needle") == [key]


def test_retention_removes_the_words_and_what_is_kept_of_them(bench, executors, outputs):
    key = stored(bench, "z" * 5000)
    executors.texts[key] = "needle"
    work(outputs)
    stored(bench, "w" * 5000)
    retire(bench, bench.machine.now_us + 100 * SECOND, keep_s=10)
    assert bench.keys() == []
    work(outputs)
    for table in ("output_texts", "wanted_outputs"):
        assert bench.index.sql.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    # An index without text would answer with an error where a word were left of a record that is gone.
    for word in ("needle", "z" * 5000, "w" * 5000):
        found = bench.index.sql.execute("SELECT rowid FROM texts WHERE texts MATCH ?", (f'"{word}"',)).fetchall()
        assert found == []
    bench.index.sql.execute("INSERT INTO texts (texts) VALUES ('integrity-check')")


def test_a_record_that_goes_while_its_output_is_read_takes_nothing_along(bench, executors, outputs):
    key = stored(bench, "z" * 5000)
    executors.texts[key] = "needle"
    outputs.step(5.0)
    retire(bench, bench.machine.now_us + 100 * SECOND, keep_s=10)
    work(outputs)
    assert bench.index.sql.execute("SELECT rowid FROM texts WHERE texts MATCH 'needle'").fetchall() == []


def test_no_output_is_wanted_where_none_is_to_be_indexed(tmp_path):
    bench = Bench(tmp_path / "index.sqlite", wants_outputs=False)
    stored(bench, "z" * 5000)
    assert bench.index.sql.execute("SELECT count(*) FROM wanted_outputs").fetchone() == (0,)


def test_files_of_this_node_are_read_without_the_escape_sequences(bench, tmp_path):
    text = b"\x1b[31mred\x1b[0mish " + b"filler " * 1000
    directory = tmp_path / "outputs"
    key = stored(bench, text.decode())
    files = OutputFiles(directory, keep_s=3600, max_bytes=1 << 30, now_us=lambda: 0, monotonic=lambda: 0.0)
    files.put((key, 1), StoredOutput(len(text), len(text), text), hashlib.sha256(text).digest())
    fetch = OutputFetcher((tmp_path / "none", directory), LIMIT)
    found = fetch(key, bench.row(key))
    fetch.close()
    assert found is not None
    assert found.startswith("redish filler")


@pytest.mark.parametrize("size", [10, LIMIT, LIMIT + 1, 3 * LIMIT])
def test_of_a_long_output_the_beginning_and_the_end_are_indexed(size):
    data = bytes(65 + number % 26 for number in range(size))
    expected = data if size <= LIMIT else data[: LIMIT // 2] + b"\n" + data[-LIMIT // 2 :]
    assert excerpt(StoredOutput(size, size, data).read, size, LIMIT) == expected


def test_a_gap_within_what_is_indexed_parts_the_words_around_it():
    output = StoredOutput(size_bytes=100, head_bytes=5, data=b"begin" + b"end")
    assert excerpt(output.read, 100, LIMIT) == b"begin\nend"
