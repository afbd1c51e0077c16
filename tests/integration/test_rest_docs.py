"""The examples of docs/rest.md and of the README run as they are printed."""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from raftsched_client import task

from tests.support.cluster import Cluster, eventually

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rest.md"
README = ROOT / "README.md"
ADDRESS = "API=http://127.0.0.1:8101\n"
MARK = "--- example"


def blocks(page: Path) -> list[str]:
    """The shell examples of a page."""
    return re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)


def examples(found: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each command, and what its answer must contain."""
    command: list[str] = []
    for block in found:
        shown: list[str] = []
        for line in block.splitlines():
            if line.startswith("# => "):
                shown.append(line.removeprefix("# => "))
                continue
            if shown:
                yield "\n".join(command), shown
                command, shown = [], []
            command.append(line)
        if shown:
            yield "\n".join(command), shown
            command = []


def test_each_example_answers_what_the_page_says(tmp_path: Path) -> None:
    found = list(examples(blocks(PAGE)))
    assert len(found) > 15
    assert found[0][0].startswith(ADDRESS)
    script = "".join(f"{command}\necho; echo '{MARK}'\n" for command, _ in found)
    with Cluster(tmp_path, 3, http=True) as cluster:
        with cluster.client() as client:
            nowhere = task("probe", every=timedelta(hours=1), noop=True, executor_labels={"zone": "nowhere"})
            eventually(
                lambda: client.create_task(nowhere, validate_only=True).warnings, what="a leader that is not new"
            )
        # Ports of tests are free ones; all else is what the page prints.
        script = script.replace(ADDRESS, f"API=http://{cluster.http_addresses['n2']}\n")
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(
            ["bash", "-eu", "-c", script], env=variables, capture_output=True, text=True, check=False, timeout=240
        )
    answers = done.stdout.split(MARK)
    assert done.returncode == 0, done.stderr + done.stdout
    for (command, shown), answer in zip(found, answers[:-1], strict=True):
        for text in shown:
            assert text in answer, f"{command}\ngave: {answer}"


def test_create_list_run_and_search_work_as_the_readme_prints_them(tmp_path: Path) -> None:
    found = list(examples([block for block in blocks(README) if "# => " in block]))
    assert len(found) == 4
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with Cluster(tmp_path, 3, http=True) as cluster:
        address = f"API=http://{cluster.http_addresses['n2']}\n"

        def answered(command: str, shown: list[str]) -> bool:
            line = address + command.removeprefix(ADDRESS)
            done = subprocess.run(["bash", "-euc", line], env=variables, capture_output=True, text=True, check=True)
            return all(text in done.stdout for text in shown)

        for command, shown in found:
            # The index that is searched follows within about a second.
            eventually(partial(answered, command, shown), what=f"{shown} in the answer to {command}")
