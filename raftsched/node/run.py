"""Runs a node or an executor as a process of its own."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping

import structlog

from raftsched import logs
from raftsched.clock import SystemClock
from raftsched.config import ExecutorProcessConfig, NodeConfig
from raftsched.consensus.matching import InvariantBroken
from raftsched.executor import inherited
from raftsched.executor.agent import ExecutorAgent
from raftsched.net import exposure
from raftsched.node.compose import Node
from raftsched.node.errors import Outdated, StartError, Stopped
from raftsched.node.private import make_private
from raftsched.node.settings import Once, executor_settings, shares
from raftsched.node.signals import run_all, run_until_signalled
from raftsched.ports import NodeOutdated, StoreFailed, StoreRefused

_log = structlog.get_logger(__name__)


def run_node(config: NodeConfig, once: Once | None = None) -> None:
    """Run a node until SIGTERM or SIGINT. Raises StartError, Stopped."""
    logs.configure(config.log)
    http = {} if config.http_listen == "off" else {"http_listen": config.http_listen}
    _check_exposure({"listen": config.listen, **http}, insecure=config.insecure)
    inherited.restore_signals()
    inherited.keep_files_private()
    inherited.close_memory()
    make_private(config.data_dir)
    _warn_of_root(config)
    with _explained():
        asyncio.run(run_until_signalled(Node(config, SystemClock(), once or Once()).run))


def run_executor(config: ExecutorProcessConfig) -> None:
    """Run an executor process until SIGTERM or SIGINT, then let it finish what it has; a second signal ends it at once.

    Raises StartError, Stopped.
    """
    logs.configure(config.log)
    _check_exposure({f"join {number}": each for number, each in enumerate(config.join, 1)}, insecure=config.insecure)
    inherited.restore_signals()
    inherited.keep_files_private()
    inherited.close_memory()
    make_private(config.data_dir)
    _warn_of_root(config)
    settings = executor_settings(config.executor, config.output, config.data_dir, config.name, shares(config.executor))
    agent = ExecutorAgent(settings, list(config.join), SystemClock())
    with _explained():
        asyncio.run(run_until_signalled(lambda stop: _run_agent(agent, stop)))


def _warn_of_root(config: NodeConfig | ExecutorProcessConfig) -> None:
    if os.geteuid() == 0 and config.executor.slots:
        _log.warning("commands run as root, as this process does: give it a user of its own, or no slots")


def _check_exposure(addresses: Mapping[str, str], *, insecure: bool) -> None:
    """Raises StartError: others could reach these, and nobody has said that they may."""
    if refused := exposure.refusal(addresses, tls=False, insecure=insecure):
        raise StartError(refused)
    if found := exposure.exposed(addresses, tls=False):
        _log.warning("insecure: without TLS or authentication, whoever reaches these can run commands", addresses=found)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What the operator can mend comes without a traceback; anything else is a defect of ours and keeps it."""
    try:
        yield
    except StoreRefused as error:
        raise StartError(str(error)) from error
    except NodeOutdated as error:
        raise Outdated(str(error)) from error
    except (StoreFailed, InvariantBroken) as error:
        raise Stopped(str(error)) from error


async def _run_agent(agent: ExecutorAgent, stop: asyncio.Event) -> None:
    async def drain() -> None:
        _log.info("draining: finishing what was accepted; a second signal ends it at once")
        await agent.drain()

    await agent.start()
    try:
        await run_all([agent.wait()], stop, drain)
    finally:
        await agent.stop()
