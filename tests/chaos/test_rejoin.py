from pathlib import Path

from tests.chaos.rejoin import elections_by_a_rejoin, lab


def test_a_follower_that_was_cut_off_comes_back_without_an_election(tmp_path: Path) -> None:
    with lab(tmp_path, nodes=3) as running:
        assert elections_by_a_rejoin(running) == 0
