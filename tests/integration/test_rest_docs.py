"""The examples of docs/rest.md run as they are printed."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "rest.md"
ADDRESS = "API=http://127.0.0.1:8101\n"
MARK = "--- example"


def examples() -> Iterator[tuple[str, list[str]]]:
    """Each command of the page, and what its answer must contain."""
    command: list[str] = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
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
    found = list(examples())
    assert len(found) > 15
    assert found[0][0].startswith(ADDRESS)
    script = "".join(f"{command}\necho; echo '{MARK}'\n" for command, _ in found)
    with Cluster(tmp_path, 3, http=True) as cluster:
        # Ports of tests are free ones; all else is what the page prints.
        script = script.replace(ADDRESS, f"API=http://{cluster.http_addresses['n2']}\n")
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(
            ["bash", "-eu", "-c", script], env=variables, capture_output=True, text=True, check=False, timeout=120
        )
    answers = done.stdout.split(MARK)
    assert done.returncode == 0, done.stderr + done.stdout
    for (command, shown), answer in zip(found, answers[:-1], strict=True):
        for text in shown:
            assert text in answer, f"{command}\ngave: {answer}"
