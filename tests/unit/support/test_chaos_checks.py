"""The checks of the chaos runs catch what they are for: a check that cannot fail proves nothing."""

from datetime import UTC, datetime
from pathlib import Path

import lmdb
from raftsched_proto.v1 import execution_pb2

from tests.chaos.checks import (
    Ran,
    check_executions,
    check_registers,
    check_runs,
    check_starts,
    compare_tables,
    read_ground_truth,
)
from tests.chaos.workload import Observed
from tests.support.linearizable import Call, Kind

SUCCEEDED = execution_pb2.EXECUTION_STATE_SUCCEEDED
RUNNING = execution_pb2.EXECUTION_STATE_RUNNING
TABLES = (
    "meta", "tasks", "cursors", "due", "executions", "pending", "active", "failures", "ledger", "requests",
    "request_expiry",
)  # fmt: skip


def ran(task: str, id_: str = "E1", attempt: int = 1, token: int = 1) -> Ran:
    return Ran(task, id_, attempt, token, "x", 1.0)


def execution(task: str, id_: str = "E1", attempt: int = 1, state: int = SUCCEEDED) -> execution_pb2.Execution:
    made = execution_pb2.Execution(
        id=id_, task=task, attempt=attempt, state=state, trigger=execution_pb2.TRIGGER_SCHEDULE
    )  # fmt: skip
    made.nominal_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    made.end_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    return made


def test_a_run_as_it_should_be_passes() -> None:
    runs = [ran("cmd-1", attempt=1, token=4), ran("cmd-1", attempt=2, token=9)]
    assert list(check_runs(runs, [execution("cmd-1", attempt=2)])) == []


def test_an_at_most_once_execution_that_ran_twice_is_caught() -> None:
    runs = [ran("amo-1", attempt=1, token=1), ran("amo-1", attempt=2, token=2)]
    assert any("ran 2 times" in found for found in check_runs(runs, [execution("amo-1", attempt=2)]))


def test_an_attempt_that_ran_twice_is_caught() -> None:
    assert any("more than once" in found for found in check_runs([ran("cmd-1")] * 2, [execution("cmd-1")]))


def test_a_token_that_does_not_rise_is_caught() -> None:
    runs = [ran("cmd-1", attempt=1, token=5), ran("cmd-1", attempt=2, token=5)]
    assert any("do not rise" in found for found in check_runs(runs, [execution("cmd-1", attempt=2)]))


NOMINAL_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def test_a_start_before_its_time_is_caught() -> None:
    early, on_time = (Ran("cmd-1", "E1", 1, 1, "x", NOMINAL_S + off_s) for off_s in (-0.6, -0.4))
    assert any("before its time" in found for found in check_starts([early], [execution("cmd-1")], Observed()))
    assert list(check_starts([on_time], [execution("cmd-1")], Observed())) == []


def test_a_start_for_a_later_time_after_an_answered_pause_is_caught() -> None:
    run = Ran("paused-1", "E1", 1, 1, "x", NOMINAL_S + 0.01)
    for since_s, until_s, is_wrong in ((-0.8, 2.0, True), (-0.8, 0.0, False), (0.005, 2.0, False), (0.5, 2.0, False)):
        observed = Observed(pauses=[("paused-1", NOMINAL_S + since_s, NOMINAL_S + until_s)])
        found = list(check_starts([run], [execution("paused-1")], observed))
        assert bool(found) == is_wrong, found


def test_a_run_without_a_record_is_caught() -> None:
    assert any("no record" in found for found in check_runs([ran("cmd-1")], []))


def test_a_success_that_never_ran_is_caught() -> None:
    assert any("never ran" in found for found in check_runs([], [execution("cmd-1")]))


def test_two_executions_of_one_nominal_time_are_caught() -> None:
    assert list(check_executions([execution("a", "E1"), execution("a", "E2")]))


def test_an_execution_that_does_not_end_is_caught() -> None:
    assert any("have not ended" in found for found in check_executions([execution("a", state=RUNNING)]))


def test_a_stale_read_is_caught() -> None:
    calls = [Call(Kind.CREATE, "1", 0, 1), Call(Kind.GET, None, 2, 3)]
    notes: list[str] = []
    assert any("not linearizable" in found for found in check_registers(Observed(registers={"r": calls}), notes))
    assert notes == []


def test_the_ground_truth_is_read_as_commands_write_it(tmp_path: Path) -> None:
    (tmp_path / "truth").write_text("cmd-1 E1 2 17 n1-abc 1700000000.5\n")
    assert read_ground_truth(tmp_path / "truth") == [Ran("cmd-1", "E1", 2, 17, "n1-abc", 1700000000.5)]


def test_a_row_that_differs_between_two_disks_is_caught(tmp_path: Path) -> None:
    for node, value in (("n1", b"a"), ("n2", b"a"), ("n3", b"b")):
        write_store(tmp_path / node / "state", value)
    found = compare_tables(tmp_path / node for node in ("n1", "n2", "n3"))
    assert len(found) == 1
    assert found[0].startswith("n1 and n3 differ in table tasks")


def write_store(directory: Path, value: bytes) -> None:
    directory.mkdir(parents=True)
    file = str(directory / "data.mdb")
    with lmdb.open(file, subdir=False, max_dbs=32, lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(b"live", b"0", db=env.open_db(b"store", txn))
        for table in TABLES:
            db = env.open_db(f"{table}.0".encode(), txn)
            if table == "tasks":
                txn.put(b"name", value, db=db)
