"""The clock of a real process."""

import sys
import time

import pytest

from raftsched.clock import SystemClock


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a clock that counts suspension")
def test_the_unstepping_clock_goes_on_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    # CLOCK_MONOTONIC stands still then: clock_gettime(2).
    shown = {time.CLOCK_BOOTTIME: 5000.0, time.CLOCK_MONOTONIC: 1000.0}
    monkeypatch.setattr(time, "clock_gettime", shown.__getitem__)
    assert SystemClock().monotonic() == 5000.0
