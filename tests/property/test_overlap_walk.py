"""Whatever ends when and in which order, overlap policies hold their limits and every nominal time has one record."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from raftsched.core.state.model import Decision, ExecutionState, OverlapPolicy, Trigger
from raftsched.core.state.rows import ExecutionRow, LedgerRow, parse_ledger_key
from raftsched.ports import Table
from tests.unit.core.test_machine_backfill import backfill
from tests.unit.core.test_machine_policies import Fixture

STATES = [ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED, ExecutionState.LOST]
steps = st.one_of(
    st.tuples(st.just("fire"), st.integers(1, 4)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("assign"), st.just(0)),
    st.tuples(st.just("wake"), st.just(0)),
    st.tuples(st.just("backfill"), st.integers(1, 4)),
)


def executions(driver: Fixture) -> dict[bytes, ExecutionRow]:
    return {key: ExecutionRow.FromString(row) for key, row in driver.rows(Table.EXECUTIONS).items()}


def open_ids(driver: Fixture) -> list[bytes]:
    return [key for key, row in executions(driver).items() if not ExecutionState(row.state).ended]


def step(driver: Fixture, what: str, number: int) -> None:
    active = list(driver.rows(Table.ACTIVE))
    if what == "fire":
        driver.fire_next(number)
    elif what == "end" and active:
        driver.report(active[number % len(active)], STATES[number % len(STATES)])
    elif what == "cancel" and open_ids(driver):
        found = open_ids(driver)
        driver.cancel(found[number % len(found)])
    elif what == "assign":
        for execution_id in driver.rows(Table.PENDING):
            driver.assign(execution_id)
    elif what == "wake":
        driver.wake()
    elif what == "backfill":
        outcome = backfill(driver, number, running=1 + number % 2)
        assert not outcome.code or any(row.trigger == Trigger.BACKFILL for row in executions(driver).values())


def check(driver: Fixture) -> None:
    rows = executions(driver)
    going = {key for key, row in rows.items() if not ExecutionState(row.state).ended}
    backfills = {key for key, row in rows.items() if row.trigger == Trigger.BACKFILL}
    queued = {key for key in going if rows[key].queued}
    full = len(going - queued) == driver.limits["max_running"]
    assert len(going - queued) <= driver.limits["max_running"]
    assert len(queued - backfills) <= driver.limits["max_queued"]
    assert not queued - backfills or full, "queued beside a free place"
    open_backfills = going & backfills - queued
    limits = [rows[key].backfill_max_running for key in going & backfills]
    assert len(open_backfills) <= max(limits, default=0)
    assert not queued & backfills or full or len(open_backfills) >= min(limits), "a backfill waits beside a free place"
    assert {key[9:] for key in driver.rows(Table.OPEN)} == going
    classes = Counter(key[8] for key in driver.rows(Table.OPEN))
    expected = (going - queued, queued - backfills, queued & backfills, open_backfills)
    assert [classes[each] for each in range(4)] == [len(each) for each in expected]
    waiting = {key for key in going if rows[key].not_before_us}
    assert set(driver.rows(Table.HELD)) == queued | waiting
    assert {key[8:] for key in driver.rows(Table.TIMERS)} == waiting
    assert set(driver.rows(Table.PENDING)) | set(driver.rows(Table.ACTIVE)) == going - queued - waiting
    entries = [(parse_ledger_key(key), LedgerRow.FromString(row)) for key, row in driver.rows(Table.LEDGER).items()]
    backfilled = [key[2] for key, row in entries if row.trigger == Trigger.BACKFILL and row.decision == Decision.RAN]
    assert sorted(backfilled) == sorted(backfills), "a backfill without its one entry"
    ledger = [each for each in driver.ledger() if each[0] > 0]
    assert [second for second, _, _ in ledger] == list(range(1, driver.seconds + 1))
    ran = {driver.id_of(second) for second, decision, _ in ledger if decision == Decision.RAN}
    assert ran == set(rows) - backfills


@settings(deadline=None)
@given(
    st.sampled_from([OverlapPolicy.SKIP, OverlapPolicy.QUEUE, OverlapPolicy.CANCEL_RUNNING]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.lists(steps, max_size=30),
)
def test_limits_hold_and_every_nominal_time_has_one_record(
    policy: OverlapPolicy, running: int, queued: int, retries: bool, walk: list[tuple[str, int]]
) -> None:
    driver = Fixture(policy, running, running if policy is OverlapPolicy.CANCEL_RUNNING else queued)
    if retries:
        driver.task.retry.max_attempts = 3
    driver.begin()
    for what, number in walk:
        step(driver, what, number)
        check(driver)
    for _ in range(10 * (len(executions(driver)) + 1)):
        for each in (("wake", 0), ("assign", 0), ("end", 0)):
            step(driver, *each)
    check(driver)
    assert not open_ids(driver), "something waits for ever"
