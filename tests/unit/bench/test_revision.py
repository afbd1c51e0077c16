"""Another revision is refused before anything is set up, and given the same arguments as this one."""

import json
import subprocess
from pathlib import Path

import pytest

from bench import revision
from bench.__main__ import _parser
from bench.measure import Figures
from bench.registry import WORKLOADS
from bench.revision import arguments_for, common_figures, figures_in, flags_in, refuse_if_missing, resolve

HELP = "usage: scripts/bench steady [-h] [--runs RUNS] [--per-second N]\n  --runs RUNS  each\n  --per-second N\n"


def git(repository: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def commit(repository: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "x")
    return git(repository, "rev-parse", "HEAD").strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    return tmp_path


def test_a_revision_is_found_by_any_name_that_git_knows(repository: Path) -> None:
    first = commit(repository, {"a": "1"})
    second = commit(repository, {"a": "2"})
    git(repository, "tag", "--annotate", "v1", "--message", "x")
    assert resolve("HEAD~1", repository) == first
    assert resolve(second[:7], repository) == resolve("v1", repository) == second


@pytest.mark.parametrize("name", ["nope", "--all", "HEAD:a", "HEAD~9", ""])
def test_what_is_no_commit_is_refused(repository: Path, name: str) -> None:
    commit(repository, {"a": "1"})
    with pytest.raises(SystemExit, match="There is no revision"):
        resolve(name, repository)


def test_a_directory_without_git_has_no_other_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SystemExit, match="is no git repository"):
        resolve("HEAD", tmp_path)


def test_a_revision_that_cannot_measure_the_workload_is_refused(repository: Path) -> None:
    old = commit(repository, {"scripts/setup": "x"})
    new = commit(repository, {"scripts/bench": "x", "bench/registry.py": 'WORKLOADS = {"herd": 1}'})
    with pytest.raises(SystemExit, match="has no scripts/bench"):
        refuse_if_missing(old, "HEAD~1", "herd", repository)
    with pytest.raises(SystemExit, match="has no workload steady"):
        refuse_if_missing(new, "HEAD", "steady", repository)
    refuse_if_missing(new, "HEAD", "herd", repository)


def test_nothing_is_set_up_for_a_revision_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "ROOT", tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(SystemExit, match="There is no revision"):
        revision.compare_commit("nope", "steady", {}, {}, 1, tmp_path / "clone")
    assert not (tmp_path / "clone").exists()


def test_a_directory_that_is_no_clone_of_this_command_is_left_alone(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"scripts/setup": "x", "scripts/bench": "x", "bench/registry.py": '{"herd": 1}'}
    commit(repository, files)
    monkeypatch.setattr(revision, "ROOT", repository)
    mine = tmp_path_factory.mktemp("mine")
    (mine / "file").write_text("precious", encoding="utf-8")
    with pytest.raises(SystemExit, match="is not empty, and no clone that this command made"):
        revision.compare_commit("HEAD", "herd", {}, {}, 1, mine)
    assert [path.name for path in mine.iterdir()] == ["file"]


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_each_workload_takes_its_options_behind_a_revision(name: str) -> None:
    given = vars(_parser().parse_args(["compare", "commit", "HEAD~3", name, "--runs", "1"]))
    assert (given["against"], given["revision"], given["workload"], given["runs"]) == ("commit", "HEAD~3", name, 1)
    for option, default in WORKLOADS[name].options.items():
        assert given[option] == default


def test_an_unknown_workload_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["compare", "commit", "HEAD", "nope"])
    assert "invalid choice: 'nope' (choose from 'register'" in capsys.readouterr().err


def test_all_options_are_written_out_that_the_other_revision_has() -> None:
    options = {"per_second": 50, "action": "noop"}
    arguments = arguments_for(options, {"per_second": 100, "action": "noop"}, flags_in(HELP), "abc1234")
    assert arguments == ["--runs", "1", "--per-second", "50"]


def test_an_option_that_the_other_revision_lacks_is_refused_when_it_was_given() -> None:
    with pytest.raises(SystemExit, match="abc1234 has no option --action"):
        arguments_for({"action": "command"}, {"action": "noop"}, flags_in(HELP), "abc1234")


def test_the_figures_are_read_from_the_line_of_json() -> None:
    line = json.dumps({"workload": "steady", "missed": 6, "calibration": {"fdatasync_ms": 1.0}, "action": "noop"})
    assert figures_in(f"up\n{{}}\n{line}\n\nfigure  median\n") == {"workload": "steady", "missed": 6, "action": "noop"}
    with pytest.raises(ValueError, match="no line of JSON"):
        figures_in("failed\n")


def test_only_numbers_that_both_measured_are_compared() -> None:
    theirs: Figures = {
        "workload": "steady",
        "run": 1,
        "seconds": 5,
        "missed": 0,
        "p50_ms": 1.0,
        "old_ms": 1.0,
        "load": 1.0,
    }
    ours: Figures = {
        "workload": "steady",
        "run": 1,
        "seconds": 5,
        "p50_ms": 2.0,
        "missed": 6,
        "new_ms": 1.0,
        "load": 1.0,
    }
    assert common_figures(theirs, ours, {"seconds": 5}) == ["p50_ms", "missed"]
