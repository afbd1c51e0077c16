"""The command line and the client library against three real nodes."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from raftsched_client import (
    AlreadyExistsError,
    Client,
    ConflictError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
    action,
    schedule,
    task,
    to_datetime,
)
from raftsched_proto.v1.execution_pb2 import EXECUTION_STATE_SUCCEEDED

from tests.support.cluster import Cluster, eventually

CRONTAB = """\
# m h  dom mon dow   command
SHELL=/bin/bash
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
MAILTO=root

17 *    * * *   cd / && run-parts --report /etc/cron.hourly
25 6    * * *   test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )
47 6    * * 7   test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.weekly )
52 6    1 * *   test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.monthly )
*/5 * * * *     /usr/bin/php /var/www/html/cron.php > /dev/null 2>&1
0 3 * * *       /usr/bin/certbot renew --quiet --post-hook "systemctl reload nginx"
*/10 * * * *    [ -x /usr/lib/sysstat/sa1 ] && /usr/lib/sysstat/sa1 1 1
53 23 * * *     /usr/lib/sysstat/sa2 -A
0 */6 * * *     rsync -a --delete /srv/data/ backup:/srv/data/
30 2 * * 1-5    pg_dump -Fc app | gzip > /backup/app-$(date +\\%F).gz
15 4 * * sun    find /backup -name '*.gz' -mtime +30 -delete
@daily          /usr/sbin/logrotate /etc/logrotate.conf
@hourly         /usr/local/bin/collect --host "$HOSTNAME"
@weekly         apt-get -qq update
@monthly        /usr/local/bin/invoice --month last
@yearly         echo happy new year | wall
@reboot         /usr/local/bin/warm-cache
* * * * *       flock -n /tmp/q.lock /usr/local/bin/queue work --once
1,31 * * * *    /usr/bin/fetchmail -s
0 8-18/2 * * 1-5 /usr/local/bin/poll-partners
0 0 1,15 * *    /usr/local/bin/payroll
0 0 13 * fri    /usr/local/bin/superstition
5 0 * jan,jul * /usr/local/bin/half-year
59 23 31 12 *   /usr/local/bin/close-books
0 12 * * MON    mail -s "weekly" boss@example.org%Dear boss,%all is well.%
*/15 9-17 * * * /opt/app/bin/console app:sync --env=prod
20 1 * * 0,6    /usr/local/bin/weekend
HOME=/srv/app
10 5 * * *      ./bin/rotate && ./bin/compress
12 5 * * *      python3 -m app.report --yesterday
CRON_TZ=Asia/Tokyo
0 9 * * 1-5     /usr/local/bin/market open
0 15 * * 1-5    /usr/local/bin/market close
30 0 * * *      /usr/local/bin/daily-jp
CRON_TZ=America/New_York
30 9 * * 1-5    /usr/local/bin/nyse open
0 16 * * 1-5    /usr/local/bin/nyse close
CRON_TZ=Asia/Kolkata
0 */4 * * *     /usr/local/bin/sync-in
CRON_TZ=UTC
0 0 * * *       /usr/local/bin/rollover
*/2 * * * *     nice -n 19 /usr/local/bin/reindex
7 7 7 7 *       /usr/local/bin/lucky
0 22 * * 1-5    /usr/local/bin/stop-staging
0 6 * * 1-5     /usr/local/bin/start-staging
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def client(cluster: Cluster) -> Iterator[Client]:
    with cluster.client() as connected:
        yield connected


def run(cluster: Cluster, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAFTSCHED_")}
    environment["RAFTSCHED_ENDPOINTS"] = ",".join(cluster.endpoints)
    command = [sys.executable, "-m", "raftsched.cli.main", *arguments]
    return subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=60)


def done(cluster: Cluster, *arguments: str, stdin: str = "") -> str:
    ended = run(cluster, *arguments, stdin=stdin)
    assert ended.returncode == 0, ended
    return ended.stdout


def test_status_shows_three_healthy_nodes_and_one_leader(cluster):
    # A node that does not answer within a second, or that stands for election just now, is shown as such.
    def healthy() -> dict | None:
        answer = json.loads(done(cluster, "status", "-o", "json"))
        return None if any(node["problem"] for node in answer["nodes"]) else answer

    answer = eventually(healthy, what="nodes without a problem")
    nodes = {node["id"]: node for node in answer["nodes"]}
    assert {id_: node["address"] for id_, node in nodes.items()} == cluster.addresses
    assert sorted(node["role"] for node in nodes.values()) == ["FOLLOWER", "FOLLOWER", "LEADER"]
    assert nodes[answer["leaderId"]]["role"] == "LEADER"
    leads = re.compile("cluster raftsched: leader n[123]")
    eventually(lambda: leads.match(done(cluster, "status")), what="the leader in the table")


def test_task_goes_its_whole_way_on_the_command_line(cluster):
    created = done(cluster, "task", "create", "way", "--every", "1s", "--label", "test=way", "--", "echo", "hello")
    assert created.startswith("created way; next fire 20")
    assert run(cluster, "task", "create", "way", "--every", "1s", "--noop").returncode == 4

    def succeeded() -> list[dict]:
        listed = json.loads(done(cluster, "execution", "list", "--task", "way", "--state", "succeeded", "-o", "json"))
        return listed["executions"]

    execution = eventually(succeeded, what="an execution of way")[0]
    assert done(cluster, "execution", "output", execution["id"]) == "hello\n"
    assert "SUCCEEDED (exit code 0)" in done(cluster, "execution", "show", execution["id"])

    assert done(cluster, "task", "pause", "way") == "paused way\n"
    assert '"TASK_STATE_PAUSED"' in done(cluster, "task", "show", "way", "-o", "json")
    assert done(cluster, "task", "update", "way", "--time-limit", "5s") == "updated way\n"
    assert re.search(r"time limit +5s", done(cluster, "task", "show", "way"))
    entries = json.loads(done(cluster, "ledger", "way", "-o", "json"))["entries"]
    # The pause takes back what was armed and had not started.
    taken_back = [entry for entry in entries if entry["decision"] == "DECISION_SKIPPED"]
    assert all(entry["reason"] == "the task was paused" for entry in taken_back)
    assert {entry["decision"] for entry in entries if entry not in taken_back} == {"DECISION_RAN"}
    assert len({entry["nominalTime"] for entry in entries}) == len(entries) >= 1
    assert done(cluster, "task", "delete", "way") == "deleted way\n"
    assert run(cluster, "task", "show", "way").returncode == 3


def test_output_is_followed_while_it_is_written(cluster):
    done(cluster, "task", "create", "slow", "--every", "1h", "--shell", "for i in 1 2 3; do echo $i; sleep 0.4; done")
    execution_id = done(cluster, "task", "run", "slow").strip()
    assert done(cluster, "execution", "output", execution_id, "--follow") == "1\n2\n3\n"
    assert "SUCCEEDED" in done(cluster, "execution", "show", execution_id)


def test_running_execution_is_cancelled(cluster, client):
    client.create_task(task("sleeper", cron="@yearly", command=["sleep", "600"]))
    execution = client.run_task("sleeper")
    eventually(lambda: client.get_execution(execution.id).HasField("start_time"), what="the start")
    done(cluster, "execution", "cancel", execution.id)
    eventually(lambda: client.get_execution(execution.id).HasField("end_time"), what="the end")
    assert "CANCELLED" in done(cluster, "execution", "show", execution.id)
    assert run(cluster, "execution", "cancel", execution.id).returncode == 4


def test_run_and_wait_gives_the_result_as_exit_code(cluster, client):
    client.create_task(task("good", cron="@yearly", noop=True))
    client.create_task(task("bad", cron="@yearly", shell="echo oops; exit 3"))
    assert done(cluster, "task", "run", "good", "--wait").startswith("SUCCEEDED")
    ended = run(cluster, "task", "run", "bad", "--wait")
    assert ended.returncode == 1
    assert ended.stdout.startswith("FAILED (exit code 3)")


def test_bad_input_is_refused_by_option_and_field(cluster, client):
    for arguments, option in (
        (["--cron", "99 * * * *"], "--cron"),
        (["--cron", "@daily", "--zone", "Moon/Crater"], "--zone"),
        (["--at", "2020-01-01T00:00:00Z"], "--at"),
        (["--every", "10ms"], "--every"),
    ):
        ended = run(cluster, "task", "create", "bad-input", *arguments, "--noop")
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"error: {option}: ")
    with pytest.raises(InvalidArgumentError) as raised:
        client.create_task(task("no spaces", cron="0 0 30 2 *", noop=True))
    assert {v.field for v in raised.value.field_violations} == {"task.name", "task.schedule.cron.expression"}
    assert raised.value.applied == "no"


def test_crontab_of_many_lines_fires_when_croniter_says(cluster):
    imported = run(cluster, "import", "crontab", "-", "--zone", "Europe/Berlin", "-o", "json", stdin=CRONTAB)
    assert (imported.returncode, imported.stderr) == (0, "")
    lines = json.loads(imported.stdout)["lines"]
    assert [line["line"] for line in lines] == list(range(1, CRONTAB.count("\n") + 1))
    jobs = [line for line in CRONTAB.splitlines() if re.match(r"[*\d@]", line)]
    results = [line["result"] for line in lines]
    assert results.count("created") == len(jobs) - 1
    assert results.count("skipped") == 1, "@reboot"

    names = {line["task"] for line in lines if line["task"]}
    listed = json.loads(done(cluster, "task", "list", "-o", "json"))["tasks"]
    tasks = {each["name"]: each for each in listed if each["name"] in names}
    assert tasks.keys() == names
    now = datetime.now(UTC)
    for each in tasks.values():
        cron = each["schedule"]["cron"]
        zone = ZoneInfo(cron["timeZone"])
        fire = datetime.fromisoformat(each["nextFireTime"])
        if fire < now:
            continue  # It fell due while this test reads.
        if fire.astimezone(zone).utcoffset() != now.astimezone(zone).utcoffset():
            continue  # Across a change of the clock croniter goes by other rules.
        expected = croniter(cron["expression"], now.astimezone(zone)).get_next(datetime)
        assert fire == expected, cron

    again = run(cluster, "import", "crontab", "-", "--zone", "Europe/Berlin", "-o", "json", stdin=CRONTAB)
    assert again.returncode == 0
    results = [line["result"] for line in json.loads(again.stdout)["lines"]]
    assert (results.count("unchanged"), results.count("created")) == (len(jobs) - 1, 0)


def test_list_shows_times_in_the_zone_of_the_task(cluster, client):
    client.create_task(task("tokyo", cron="0 9 * * *", zone="Asia/Tokyo", noop=True))
    row = next(line for line in done(cluster, "task", "list").splitlines() if line.startswith("tokyo "))
    assert re.search(r"0 9 \* \* \*  Asia/Tokyo +\d{4}-\d\d-\d\d 09:00:00\+09:00 \(in ", row)


def test_errors_of_real_nodes_are_typed(client):
    made = client.create_task(task("typed", cron="@yearly", noop=True))
    with pytest.raises(AlreadyExistsError):
        client.create_task(task("typed", cron="@yearly", noop=True))
    client.pause_task("typed")
    with pytest.raises(ConflictError) as raised:
        client.update_task(made, ["labels"])
    assert raised.value.reason == "ETAG_MISMATCH"
    with pytest.raises(NotFoundError):
        client.run_task("nobody")
    with pytest.raises(NotFoundError):
        list(client.watch_executions(execution_id="0" * 26))


def test_repeated_request_id_gives_the_first_outcome(client):
    first = client.create_task(task("repeat", cron="@yearly", noop=True), request_id="repeat-1")
    again = client.create_task(task("repeat", cron="@yearly", noop=True), request_id="repeat-1")
    assert again.uid == first.uid
    runs = {client.run_task("repeat", request_id="repeat-2").id for _ in range(3)}
    assert len(runs) == 1


def test_schedule_is_previewed(client):
    preview = client.preview_schedule(schedule(cron="0 9 * * *", zone="Asia/Tokyo"), count=3)
    assert [to_datetime(t).hour for t in preview.nominal_times] == [0, 0, 0]
    problems = client.preview_schedule(schedule(cron="0 0 30 2 *")).problems
    assert "schedule.cron.expression" in problems[0].field


def test_batches_are_created_and_listed_in_order(client):
    def tasks():
        for number in range(1500):
            yield task(f"batch-{number:04}", cron="@yearly", noop=True)
        yield task("batch 1500", cron="@yearly", noop=True)

    results = list(client.create_tasks(tasks(), batch_size=400))
    assert [result.code for result in results] == [0] * 1500 + [3]
    assert results[-1].field == "task.name"
    names = [t.name for t in client.list_tasks(name_prefix="batch-", page_size=700)]
    assert names == [f"batch-{number:04}" for number in range(1500)]


def test_watch_and_writes_go_on_when_the_leader_is_killed(cluster, client):
    """Each acknowledged run is seen to its end by one watch, though the leader dies on the way."""
    client.create_task(task("watched", cron="@yearly", noop=True))
    ended: dict[str, int] = {}
    stop = threading.Event()

    def watch() -> None:
        with cluster.client() as watching:
            for execution in watching.watch_executions(task="watched", timeout=30):
                ended[execution.id] = execution.state
                if stop.is_set():
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    # The first runs show that the watch is on.
    eventually(lambda: client.run_task("watched") and ended, what="the first news")
    leader = cluster.leader()
    started: list[str] = [client.run_task("watched").id for _ in range(5)]
    cluster.nodes[leader].kill()
    try:
        started += [client.run_task("watched").id for _ in range(10)]
        want = dict.fromkeys(started, EXECUTION_STATE_SUCCEEDED)
        eventually(lambda: want.items() <= ended.items(), what="the end of every run")
    finally:
        cluster.nodes[leader].start()
        cluster.wait_ready()
        stop.set()
        client.run_task("watched")
        watcher.join(60)
    assert not watcher.is_alive()


def test_a_changed_action_is_what_the_next_run_does(cluster, client):
    client.create_task(task("changing", cron="@yearly", command=["echo", "before"]))
    # The leader and the executors have the task as it was before.
    assert done(cluster, "task", "run", "changing", "--wait").startswith("SUCCEEDED")
    changed = client.get_task("changing")
    changed.action.CopyFrom(action(command=["echo", "changed"]))
    client.update_task(changed, ["action"])
    execution_id = done(cluster, "task", "run", "changing").strip()
    assert done(cluster, "execution", "output", execution_id, "--follow") == "changed\n"


def test_leadership_is_transferred(cluster, client):
    target = cluster.follower()

    def transfer() -> str:
        """What it says; nothing when the follower does not take over within an election timeout, which is refused."""
        return run(cluster, "cluster", "transfer", target).stdout

    assert eventually(transfer, what="a hand-over") == f"{target} leads\n"
    eventually(lambda: client.get_status().leader_id == target, what="the status of the new leader")
    assert run(cluster, "cluster", "transfer", "n9").returncode == 2


def test_executor_process_joins_and_drains(cluster, client, tmp_path):
    options = ["--data-dir", str(tmp_path / "x"), "--name", "extra", "--label", "kind=extra", "--slots", "2"]
    command = [sys.executable, "-m", "raftsched.cli.main", "executor", "--join", ",".join(cluster.endpoints), *options]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            eventually(lambda: "kind=extra" in done(cluster, "status"), what="the executor")
            client.create_task(task("there", cron="@yearly", shell="echo $0", executor_labels={"kind": "extra"}))
            execution = client.run_task("there")
            *_, last = client.watch_executions(execution_id=execution.id)
            assert last.executor_id.startswith("extra")
            assert last.state == EXECUTION_STATE_SUCCEEDED
        finally:
            process.terminate()
            process.wait(30)
    assert process.returncode == 0
    eventually(lambda: "kind=extra" not in done(cluster, "status"), what="the end of its lease")


def test_without_quorum_writes_fail_as_such_and_stale_reads_go_on(tmp_path):
    with Cluster(tmp_path) as cluster:
        survivor, *others = cluster.nodes
        with cluster.client(survivor) as alone:
            alone.create_task(task("lonely", cron="@yearly", noop=True))
            eventually(lambda: alone.get_task("lonely", stale=True), what="the task on the node that is left")
            for id_ in others:
                cluster.nodes[id_].kill()
            # The latter when the node that is left does not get to answer in time.
            with pytest.raises((UnavailableError, DeadlineExceededError)):
                alone.create_task(task("too-late", cron="@yearly", noop=True), timeout=3)
            assert alone.get_task("lonely", stale=True).name == "lonely"
        ended = run(cluster, "task", "run", "lonely", "--timeout", "3s")
        assert ended.returncode in (5, 6)
        (last,) = (line for line in ended.stderr.splitlines() if line.startswith("error: "))
        assert last.startswith(("error: no node served the call within 3 s", "error: there is no majority of nodes"))
        assert all(cluster.addresses[id_] in ended.stderr for id_ in others)
        assert done(cluster, "status").count("UNREACHABLE") == 2


FREEZE = """\
BEGIN:VCALENDAR
BEGIN:VEVENT
UID:1
SUMMARY:Freeze
DTSTART;TZID=Europe/Berlin:20401027T220000
DTEND;TZID=Europe/Berlin:20401028T060000
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:Lost
DTSTART;TZID=Atlantis:20401027T220000
DURATION:PT1H
END:VEVENT
END:VCALENDAR
"""


def test_a_task_leaves_out_an_imported_freeze_over_a_clock_change(cluster: Cluster, client: Client) -> None:
    refused = run(cluster, "calendar", "import", "night", "-", "--years", "2040", "--strict", stdin=FREEZE)
    assert (refused.returncode, [each.name for each in client.list_calendars() if each.name == "night"]) == (2, [])
    ended = run(cluster, "calendar", "import", "night", "-", "--years", "2040", stdin=FREEZE)
    assert ended.returncode == 1
    assert "Lost (UID 2): its time zone 'Atlantis' is neither defined in the file nor known" in ended.stderr
    (window,) = client.get_calendar("night").exclusions
    assert window.end_time.ToJsonString() == "2040-10-28T05:00:00Z"
    begin = datetime(2040, 10, 27, 12, tzinfo=UTC)
    made = client.create_task(
        task("after-freeze", cron="30 5,6 * * *", zone="Europe/Berlin", start=begin, calendars=["night"], noop=True)
    )
    assert to_datetime(made.next_fire_time) == datetime(2040, 10, 28, 5, 30, tzinfo=UTC)
    client.delete_task("after-freeze")
    client.delete_calendar("night")
