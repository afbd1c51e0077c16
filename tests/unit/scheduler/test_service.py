"""The service that runs the scheduler on the event loop."""

import asyncio

import pytest

from raftsched.commands.gate import Gate
from raftsched.commands.versions import NEWEST_VERSION
from raftsched.node.members import KnownMembers
from raftsched.scheduler.service import SchedulerService
from raftsched.scheduler.settings import SchedulerSettings
from raftsched.store.memory_store import MemoryStore
from tests.unit.scheduler.test_scheduler import ManualClock, StepLog


@pytest.mark.parametrize("turns", range(6))
def test_it_ends_when_it_is_cancelled_while_the_leadership_ends(turns: int) -> None:
    """A node that fails does both in one turn of the event loop, and stops only if everything ends."""

    async def body() -> None:
        store = MemoryStore()
        service = SchedulerService(
            log=StepLog(store),
            store=store,
            clock=ManualClock(),
            node_id="n1",
            members=KnownMembers(()),
            settings=SchedulerSettings(),
            gate=Gate(lambda: NEWEST_VERSION),
        )
        service.lead(1)
        running = asyncio.create_task(service.run())
        for _ in range(20):
            await asyncio.sleep(0)
        service.lead(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=5)
        assert done, "the cancellation was swallowed"
        assert running.cancelled()

    asyncio.run(body())
