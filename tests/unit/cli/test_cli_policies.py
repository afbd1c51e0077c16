"""The options of policies, through the client, against real servers."""

from google.protobuf.json_format import MessageToDict
from raftsched_proto.v1 import execution_pb2, policy_pb2

EVERY = ("--every", "1m")


def test_create_sends_overlap_and_retries(cli, cluster):
    options = [
        *("--overlap", "queue", "--max-running", "2", "--max-queued", "3", "--attempts", "4", "--backoff", "2s"),
        *("--backoff-multiplier", "3", "--max-backoff", "1m", "--retry-on", "failed", "--retry-exit-code", "75"),
        *("--retry-status", "503", "--start-deadline", "5m", "--priority", "-3", "--jitter", "9s"),
    ]
    assert cli("task", "create", "t", *EVERY, *options, "--noop").code == 0
    task = MessageToDict(cluster.tasks["t"])
    assert (task["overlapPolicy"], task["maxRunning"], task["maxQueued"]) == ("OVERLAP_POLICY_QUEUE", 2, 3)
    assert (task["startDeadline"], task["priority"], task["jitter"]) == ("300s", -3, "9s")
    assert task["retry"] == {
        "maxAttempts": 4,
        "initialBackoff": "2s",
        "multiplier": 3,
        "maxBackoff": "60s",
        "states": ["EXECUTION_STATE_FAILED"],
        "exitCodes": [75],
        "httpStatuses": [503],
    }
    shown = cli("task", "show", "t").out
    assert "QUEUE, 2 open, 3 queued" in shown
    assert "4 attempts, after 2s to 1m, exit codes 75, HTTP statuses 503" in shown


def test_a_policy_without_limits_takes_them_away(cli, cluster):
    cli("task", "create", "t", *EVERY, "--overlap", "queue", "--max-running", "2", "--max-queued", "3", "--noop")
    assert cli("task", "update", "t", "--overlap", "allow").code == 0
    task = cluster.tasks["t"]
    assert (task.overlap_policy, task.max_running, task.max_queued) == (policy_pb2.OVERLAP_POLICY_ALLOW, 0, 0)


def test_create_sends_the_bounds_of_the_misfire_policy_and_another_policy_takes_them_away(cli, cluster):
    bounds = ("--misfire", "all", "--misfire-window", "1h", "--misfire-max-runs", "20")
    assert cli("task", "create", "t", *EVERY, *bounds, "--noop").code == 0
    task = MessageToDict(cluster.tasks["t"])
    assert (task["misfireWindow"], task["misfireMaxRuns"]) == ("3600s", 20)
    assert "ALL, within 1h, the latest 20" in cli("task", "show", "t").out
    assert cli("task", "update", "t", "--misfire", "skip").code == 0
    task = MessageToDict(cluster.tasks["t"])
    assert "misfireWindow" not in task
    assert "misfireMaxRuns" not in task


def test_options_of_retries_need_a_number_of_attempts(cli):
    ended = cli("task", "create", "t", *EVERY, "--noop", "--backoff", "1s")
    assert (ended.code, ended.err) == (2, "error: options of retries go with --attempts\n")


def test_show_tells_the_attempts_before(cli, cluster):
    execution = execution_pb2.Execution(id="01JD9ZK3M0V6X8QH2T4B5N7R9C", task="t", attempt=2, state=1)
    execution.next_attempt_time.FromJsonString("2030-01-01T00:00:00Z")
    past = execution.past_attempts.add(attempt=1, state=5, executor_id="e1", exit_code=3, error="exit code 3")
    past.end_time.FromJsonString("2029-12-31T23:59:00Z")
    cluster.executions[execution.id] = execution
    shown = cli("execution", "show", execution.id).out
    assert "its next attempt at 2030-01-01" in shown
    assert "FAILED (exit code 3)" in shown
    assert "exit code 3" in shown.splitlines()[-2]


def test_placement_is_sent_and_shown(cli, cluster):
    assert cli("task", "create", "t", *EVERY, "--placement", "every", "--noop").code == 0
    assert cluster.tasks["t"].placement == policy_pb2.PLACEMENT_EVERY
    assert "EVERY" in cli("task", "show", "t").out
    assert cli("task", "update", "t", "--placement", "any").code == 0
    assert cluster.tasks["t"].placement == policy_pb2.PLACEMENT_ANY


def test_a_description_and_an_owner_are_set_shown_changed_and_taken_away(cli, cluster, tmp_path):
    page = tmp_path / "report.md"
    page.write_text("# Report\n\nSee *the run book*.\n")
    assert cli("task", "create", "t", *EVERY, "--noop", "--description", f"@{page}", "--owner", "Team A").code == 0
    assert (cluster.tasks["t"].description, cluster.tasks["t"].owner) == (page.read_text(), "Team A")
    shown = cli("task", "show", "t").out
    assert "See *the run book*." in shown
    assert "Team A" in shown
    assert cli("task", "update", "t", "--owner", "", "--description", "New").code == 0
    assert (cluster.tasks["t"].description, cluster.tasks["t"].owner) == ("New", "")
