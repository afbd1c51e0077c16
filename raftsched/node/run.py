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
from raftsched.executor.agent import ExecutorAgent, dial_leader
from raftsched.net import exposure
from raftsched.net.dial import Network
from raftsched.node.compose import Node
from raftsched.node.errors import Outdated, StartError, Stopped
from raftsched.node.private import make_private
from raftsched.node.settings import Once, executor_settings, executor_tls, shares
from raftsched.node.signals import run_all, run_until_signalled
from raftsched.ports import NodeOutdated, StoreFailed, StoreRefused

_log = structlog.get_logger(__name__)


def run_node(config: NodeConfig, once: Once | None = None) -> None:
    """Run a node until SIGTERM or SIGINT. Raises StartError, Stopped."""
    logs.configure(config.log)
    _check_exposure(_open_to_all(config), insecure=config.insecure)
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
    joined = {} if config.tls.on else {f"join {number}": each for number, each in enumerate(config.join, 1)}
    _check_exposure(joined, insecure=config.insecure)
    inherited.restore_signals()
    inherited.keep_files_private()
    inherited.close_memory()
    make_private(config.data_dir)
    _warn_of_root(config)
    settings = executor_settings(config.executor, config.output, config.data_dir, config.name, shares(config.executor))
    network = Network(executor_tls(config))
    agent = ExecutorAgent(
        settings, list(config.join), SystemClock(), open_channel=lambda address: dial_leader(address, network)
    )
    with _explained():
        asyncio.run(run_until_signalled(lambda stop: _run_agent(agent, stop)))


def _open_to_all(config: NodeConfig) -> Mapping[str, str]:
    """The addresses at which nobody has to show a certificate, by setting."""
    found = {} if config.tls.on else {"listen": config.listen}
    if config.http_listen != "off" and not (config.tls.on and config.tls.client_auth == "required"):
        found["http_listen"] = config.http_listen
    return found


def _warn_of_root(config: NodeConfig | ExecutorProcessConfig) -> None:
    if os.geteuid() == 0 and config.executor.slots:
        _log.warning("commands run as root, as this process does: give it a user of its own, or no slots")


def _check_exposure(addresses: Mapping[str, str], *, insecure: bool) -> None:
    """Raises StartError: others could reach these, and nobody has said that they may."""
    if refused := exposure.refusal(addresses, insecure=insecure):
        raise StartError(refused)
    if found := exposure.exposed(addresses):
        _log.warning("insecure: without certificates, whoever reaches these can run commands", addresses=found)


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
