"""docs/periods.md lists every period and timeout of the server and the client library, with the value that holds.

It also holds what must be true between them, whatever each of them is.
"""

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from raftsched_client import _base, _retry

from raftsched.api import cluster, proposals
from raftsched.api.door import forward as api_forward
from raftsched.api.door import health, patience, reach
from raftsched.api.tasks import withdrawal
from raftsched.config import ExecutorConfig, HistoryConfig, OutputConfig, RaftConfig, SchedulerConfig, StateCheckConfig
from raftsched.consensus import cluster_time, snapshot, snapshot_fetch, transport
from raftsched.consensus.settings import Settings
from raftsched.core.backoff import Backoff
from raftsched.core.policy.due import MAX_AHEAD_US
from raftsched.core.state.model import DEFAULT_MISFIRE_THRESHOLD_US, LATE_US, SECOND_US
from raftsched.executor import agent, armed, copies, leader_session
from raftsched.executor.settings import ExecutorSettings
from raftsched.history import indexer, outputs, process, shipping
from raftsched.history.settings import HistorySettings
from raftsched.notifications import delivery
from raftsched.outputs import sources as sources
from raftsched.rest import calls
from raftsched.scheduler import executors, firing, repair, reports, scheduler, service
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.statecheck.service import StateCheckSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "periods.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ", re.M)
UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}
OF_USERS = ("definitions/", "core/times/", "core/policy/", "config.py")
"""What users may set, and calendars: configuration.md and schedules.md say it."""
NO_PERIODS = {
    # Units.
    *("SECOND_US", "_MINUTE_US", "_MILLISECOND_US", "_HOUR_S", "WIDTHS_MS"),
    # Moments, or none.
    *("MAX_US", "_MAX_MS", "_MAX_WALL_US", "_NEVER_S", "_NEVER_MS"),
    # What users may set, or how it is shown.
    *("_LARGEST_PERIOD_US", "_DEFAULT_PERIOD_US", "_LONGEST_US", "_EXPONENT_US"),
}
RAFT, SCHEDULER, EXECUTOR = Settings(), SchedulerSettings(), ExecutorSettings(Path("x"))


def unit_us(name: str) -> int:
    """What a value of that name counts, in microseconds; 0: no time."""
    return UNIT_US.get(name.lower().rpartition("_")[2], 0)


def spoken(value_us: float) -> str:
    for unit, size_us in (("d", 86_400 * 10**6), ("h", 3_600 * 10**6), ("min", 60 * 10**6), ("s", 10**6)):
        if (value_us >= size_us and not value_us % size_us) or (unit == "s" and value_us >= size_us):
            return f"{value_us / size_us:g} {unit}"
    return f"{value_us / 1_000:g} ms"


def described(name: str, value: Any) -> str:
    if isinstance(value, Backoff):
        return " to ".join(dict.fromkeys(spoken(seconds * 10**6) for seconds in (value.low_s, value.high_s)))
    return spoken(value * unit_us(name))


def assigned(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def periods_of(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """The periods of a module: what they are called on the page, and how long they are."""
    text = path.read_text()
    tree = ast.parse(text)
    names = [name for name in assigned(tree.body) if unit_us(name) or " Backoff(" in text]
    options = re.findall(r'\("(grpc\.[a-z0-9_.]+_ms)", ([0-9_]+)\)', text)
    classes = [
        each for each in tree.body if isinstance(each, ast.ClassDef) and each.name.endswith(("Settings", "Config"))
    ]
    if not (names or options or classes):
        return
    module = importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    for name in names:
        value = getattr(module, name)
        if isinstance(value, Backoff) or (unit_us(name) and name not in NO_PERIODS and isinstance(value, int | float)):
            yield f"{stem}.{name}", described(name, value)
    for name, value in options:
        yield f"{stem} {name}", spoken(int(value) * 1_000)
    for each in classes:
        for field in dataclasses.fields(getattr(module, each.name)):
            if unit_us(field.name) and field.default is not dataclasses.MISSING:
                yield f"{each.name}.{field.name}", described(field.name, field.default)


def all_periods() -> dict[str, str]:
    found: dict[str, str] = {}
    for root in (ROOT, ROOT / "client"):
        for path in sorted((root / ("raftsched" if root is ROOT else "raftsched_client")).rglob("*.py")):
            inside = path.relative_to(root).as_posix().partition("/")[2]
            if not inside.startswith(OF_USERS) and not inside.endswith(("_pb2.py", "_pb2_grpc.py")):
                for name, length in periods_of(path, root):
                    assert found.setdefault(name, length) == length, f"two periods are called {name}"
    return found


PERIODS = all_periods()
ROWS: dict[str, str] = dict(ROW.findall(PAGE))


def test_page_has_every_period_and_no_other() -> None:
    missing = [f"| `{name}` | {length} |  |" for name, length in PERIODS.items() if name not in ROWS]
    assert not missing, "rows to add:\n" + "\n".join(missing)
    assert not ROWS.keys() - PERIODS.keys(), "rows of what is no more"


@pytest.mark.parametrize("name", sorted(PERIODS))
def test_page_says_how_long_it_is(name: str) -> None:
    assert ROWS[name] == PERIODS[name]


def test_no_period_is_without_a_name() -> None:
    """Neither a timeout nor a sleep is a number on the spot."""
    unnamed = []
    for path in sorted([*(ROOT / "raftsched").rglob("*.py"), *(ROOT / "client" / "raftsched_client").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            values = [key.value for key in node.keywords if key.arg and key.arg.startswith("timeout")]
            if called.endswith((".sleep", ".timeout", "wait_for")):
                values += node.args
            if any(isinstance(value, ast.Constant) and value.value for value in values):
                unnamed.append(f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert not unnamed, "\n".join(unnamed)


class TestDefaultsOfTheConfiguration:
    """They are those that the parts have by themselves."""

    def test_consensus(self) -> None:
        config = RaftConfig()
        assert config.heartbeat_ms == RAFT.heartbeat_s * 1000
        assert config.election_timeout_min_ms == RAFT.election_timeout_min_s * 1000
        assert config.election_timeout_max_ms == RAFT.election_timeout_max_s * 1000

    def test_scheduler_and_state_check(self) -> None:
        config = SchedulerConfig()
        assert config.lease_ms == SCHEDULER.lease_ms
        assert config.decide_ahead_ms == SCHEDULER.ahead_s * 1000
        assert config.keep_executions_hours * 3600 == SCHEDULER.keep_executions_s
        assert config.keep_ledger_hours * 3600 == SCHEDULER.keep_ledger_s
        assert config.keep_executions_count == SCHEDULER.keep_executions_count
        assert StateCheckConfig().pause_s == StateCheckSettings().pause_s
        assert StateCheckConfig().step_ms == StateCheckSettings().step_s * 1000

    def test_executor_outputs_and_history(self) -> None:
        assert ExecutorConfig().kill_grace_ms == EXECUTOR.kill_grace_s * 1000
        assert OutputConfig().keep_days * 86_400 == EXECUTOR.output_keep_s
        keep_s = next(field.default for field in dataclasses.fields(HistorySettings) if field.name == "keep_s")
        assert HistoryConfig().keep_days * 86_400 == keep_s


class TestElections:
    def test_three_heartbeats_may_get_lost_before_a_follower_stands(self) -> None:
        assert 3 * RAFT.heartbeat_s < RAFT.election_timeout_min_s < RAFT.election_timeout_max_s

    def test_a_broken_link_is_dialled_again_before_a_follower_stands(self) -> None:
        assert 2 * transport._REDIAL.high_s < RAFT.election_timeout_min_s

    def test_a_link_has_several_signs_of_life_before_it_counts_as_silent(self) -> None:
        assert 4 * transport._SIGN_OF_LIFE_S < transport._SILENCE_S

    def test_who_asks_why_there_is_no_majority_is_told_after_a_link_was_found_silent(self) -> None:
        assert transport._SILENCE_S < reach._SILENT_S

    def test_a_proposal_outlives_an_election(self) -> None:
        assert 2 * RAFT.election_timeout_max_s < RAFT.proposal_deadline_s

    def test_a_snapshot_that_broke_off_can_go_on_from_the_view_it_began_with(self) -> None:
        attempt_s = transport._SNAPSHOT_STALL_S + snapshot_fetch._RETRY_S + transport._CONNECT_S
        assert snapshot_fetch._MAX_ATTEMPTS * attempt_s > snapshot._KEEP_VIEW_S > 2 * attempt_s

    def test_a_removed_node_is_told_by_the_entry_that_removes_it(self) -> None:
        assert RAFT.farewell_s < transport._FAREWELL_S
        assert RAFT.farewell_s > 2 * RAFT.election_timeout_max_s + transport._CONNECT_S


class TestPatienceOfCalls:
    def test_a_call_waits_as_long_as_an_election_takes(self) -> None:
        assert 2 * RAFT.election_timeout_max_s < patience.LEADER_PATIENCE_S

    def test_a_node_gives_up_before_the_client_does(self) -> None:
        assert patience.LEADER_PATIENCE_S < _base.DEFAULT_TIMEOUT_S
        assert RAFT.proposal_deadline_s < proposals.DECISION_TIMEOUT_S <= _base.DEFAULT_TIMEOUT_S
        assert api_forward._CONNECT_TIMEOUT_S < patience.LEADER_PATIENCE_S

    def test_http_waits_longer_than_the_call_behind_it_takes_and_the_browser_less(self) -> None:
        assert proposals.DECISION_TIMEOUT_S + patience.LEADER_PATIENCE_S < calls.CALL_TIMEOUT_S
        text = (ROOT / "ui" / "src" / "api" / "http.ts").read_text()
        browser_ms = [int(each.replace("_", "")) for each in re.findall(r"_TIMEOUT_MS = ([0-9_]+)", text)]
        assert len(browser_ms) == 2
        assert proposals.DECISION_TIMEOUT_S * 1000 <= min(browser_ms) <= max(browser_ms) < calls.CALL_TIMEOUT_S * 1000

    def test_one_attempt_of_the_client_leaves_time_for_the_next(self) -> None:
        assert _retry.LEAST_ATTEMPT_S < _retry.ATTEMPT_MIN_S < _base.DEFAULT_TIMEOUT_S / _retry.ATTEMPT_SHARE
        assert _retry.ATTEMPT_MIN_S <= patience.LEADER_PATIENCE_S

    def test_the_status_of_the_cluster_is_there_while_nodes_are_down(self) -> None:
        assert cluster._PEER_TIMEOUT_S < patience.LEADER_PATIENCE_S
        assert 2 * RAFT.election_timeout_max_s < cluster._TRANSFER_TIMEOUT_S
        assert RAFT.election_timeout_min_s > health._PERIOD_S

    def test_output_is_asked_for_at_the_executor_before_the_caller_gives_up(self) -> None:
        assert service._OUTPUT_TIMEOUT_S < sources._FETCH_TIMEOUT_S < _base.DEFAULT_TIMEOUT_S
        assert service._OUTPUT_TIMEOUT_S < outputs._RPC_TIMEOUT_S


class TestLeases:
    @pytest.mark.parametrize("lease_ms", [500, 5_000, 600_000])
    def test_two_heartbeats_of_an_executor_may_get_lost_within_its_lease(self, lease_ms: int) -> None:
        settings = SchedulerSettings(lease_ms=lease_ms)
        assert 3 * settings.heartbeat_interval_ms <= lease_ms

    def test_a_broken_stream_can_be_dialled_twice_within_a_lease(self) -> None:
        assert EXECUTOR.connect_timeout_s + EXECUTOR.backoff_high_s < SCHEDULER.lease_ms / 1000

    def test_a_new_leader_is_found_within_a_lease(self) -> None:
        assert 2 * RAFT.election_timeout_max_s + EXECUTOR.backoff_high_s < SCHEDULER.lease_ms / 1000

    def test_leases_are_looked_at_more_often_than_they_run_out(self) -> None:
        assert scheduler._LONGEST_STEP_S < SCHEDULER.reconcile_interval_s < SCHEDULER.lease_ms / 1000

    def test_a_report_is_sent_again_only_when_its_answer_is_late(self) -> None:
        assert RAFT.proposal_deadline_s <= leader_session._RESEND_S

    def test_an_executor_that_stops_has_time_for_its_last_reports(self) -> None:
        assert agent._DRAIN_NOTICE_S < agent.FLUSH_TIMEOUT_S
        assert agent.FLUSH_TIMEOUT_S > leader_session._RESEND_S


class TestDecidingAhead:
    @pytest.mark.parametrize("lease_ms", [2_000, 5_000, 600_000])
    def test_what_is_armed_is_due_before_an_executor_counts_its_lease_as_over(self, lease_ms: int) -> None:
        settings = SchedulerSettings(lease_ms=lease_ms, ahead_s=4)
        assert 0 < settings.ahead_us <= settings.herd_ahead_us == MAX_AHEAD_US
        assert settings.ahead_us < settings.armed_lease_ms * 1000

    def test_a_lease_that_a_deposed_leader_may_outlast_has_nothing_armed(self) -> None:
        settings = SchedulerSettings(lease_ms=1_400)
        assert (settings.armed_lease_ms, settings.ahead_us, settings.herd_ahead_us) == (0, 0, 0)

    def test_what_a_deposed_leader_answers_is_taken_from_the_lease(self) -> None:
        assert SCHEDULER.deposed_s >= RAFT.election_timeout_max_s

    def test_a_cursor_that_is_ahead_by_what_is_armed_is_not_repaired(self) -> None:
        assert MAX_AHEAD_US < repair.BOUND_US

    def test_a_change_waits_until_the_end_of_a_lease_is_in_the_log(self) -> None:
        noticed_s = SCHEDULER.reconcile_interval_s + scheduler._LONGEST_STEP_S
        assert noticed_s + 2 * RAFT.election_timeout_max_s < withdrawal._SLACK_S

    def test_an_execution_that_finds_no_slot_is_given_back_long_before_it_is_late(self) -> None:
        assert 10 * armed._PATIENCE_S * SECOND_US < LATE_US


class TestDecisions:
    """The promise: a start within ten seconds."""

    def test_the_promise_is_what_counts_as_late_and_as_missed(self) -> None:
        assert LATE_US == DEFAULT_MISFIRE_THRESHOLD_US == 10 * SECOND_US

    def test_a_failover_ends_within_the_promise(self) -> None:
        noticed_s = 2 * RAFT.election_timeout_max_s
        connected_s = EXECUTOR.connect_timeout_s + EXECUTOR.backoff_high_s
        decided_s = scheduler._LONGEST_STEP_S + RAFT.apply_commit_delay_s
        assert noticed_s + connected_s + decided_s < LATE_US / SECOND_US

    def test_lost_attempts_start_again_within_the_promise_and_the_lease(self) -> None:
        lease_s = SCHEDULER.lease_ms / 1000
        assert lease_s + SCHEDULER.reconcile_interval_s + scheduler._LONGEST_STEP_S < LATE_US / SECOND_US

    def test_what_gathers_for_company_gathers_for_less_than_a_heartbeat(self) -> None:
        assert max(RAFT.gather_s, reports._PATIENCE_S, EXECUTOR.gather_s) < RAFT.heartbeat_s

    def test_one_turn_of_work_holds_up_no_heartbeat_for_long(self) -> None:
        assert RAFT.apply_budget_s < RAFT.heartbeat_s
        assert RAFT.election_timeout_min_s / 2 > firing._LONGEST_TURN_S

    def test_windows_of_executors_follow_more_closely_than_the_leader_looks(self) -> None:
        assert executors.BURST_PERIOD_S <= scheduler._LONGEST_STEP_S


class TestTime:
    def test_samples_of_a_clock_outlive_the_next_questions(self) -> None:
        assert 3 * transport._ASK_CLOCK_S < cluster_time.SAMPLE_LIFE_S
        assert cluster_time.LOOK_S < transport._ASK_CLOCK_S

    def test_another_time_is_believed_only_after_samples_of_the_old_are_gone(self) -> None:
        assert cluster_time.SAMPLE_LIFE_S < cluster_time.CONFIRM_S < cluster_time.HOLDOVER_S

    def test_nothing_is_removed_or_repaired_before_a_jump_of_time_would_have_been_taken_back(self) -> None:
        assert cluster_time.CONFIRM_S < repair.SETTLE_S == SCHEDULER.retention_settle_s

    def test_drift_of_a_time_without_a_majority_stays_within_its_tolerance(self) -> None:
        assert cluster_time.DRIFT * cluster_time.HOLDOVER_S * SECOND_US < 2 * cluster_time.TOLERANCE_US


class TestHistoryAndDelivery:
    def test_the_node_waits_longer_for_its_history_process_than_that_for_its_sinks(self) -> None:
        assert shipping._STOP_S < process._STOP_S

    def test_a_burst_is_indexed_after_it_and_no_later_than_the_promise_of_a_herd(self) -> None:
        assert indexer._DEAF_S < indexer._GATHER_S < indexer._LAG_S < indexer._HERD_LAG_S

    def test_a_copy_is_tried_again_after_its_try_has_ended_at_the_other_node(self) -> None:
        assert copies._BACKOFF.high_s > copies._TIMEOUT_S

    def test_a_notice_is_tried_many_times_before_it_is_given_up(self) -> None:
        assert 100 * delivery._BACKOFF.high_s < delivery.GIVE_UP_S
        assert delivery._BACKOFF.low_s > delivery._LOOK_S
