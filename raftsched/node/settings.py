"""From the settings of a process to those of its parts."""

from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from pathlib import Path

import structlog

from raftsched.config import ExecutorConfig, ExecutorProcessConfig, NodeConfig, OutputConfig, TlsConfig
from raftsched.consensus.settings import Settings
from raftsched.executor.settings import ExecutorSettings
from raftsched.net.identity import PeerIdentity, PeerRole
from raftsched.net.tls import Tls, TlsFiles, TlsProblem
from raftsched.node import open_files
from raftsched.node.errors import StartError

VERSION = distribution_version("raftsched")
SHARD_ID = 1
GIB = 1 << 30
SECONDS_PER_HOUR = 3600
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """What is asked for at one start only."""

    accept_copy: bool = False
    """Let a data directory that is a copy count as what it is a copy of."""
    recover: str = ""
    """The code of the cluster that this node shall go on with alone; "" for none."""


def tls_of(config: TlsConfig) -> Tls | None:
    """The certificates of this process; None: it has none. Raises StartError: they cannot be used."""
    if not config.on:
        return None
    try:
        return Tls(TlsFiles(Path(config.ca), Path(config.cert), Path(config.key)))
    except TlsProblem as error:
        raise StartError(f"{error}. Nothing was started; see the section [tls] of the settings") from None


def node_tls(config: NodeConfig) -> Tls | None:
    """As ``tls_of``, of a node. Raises StartError: the certificate is not of this node."""
    tls = tls_of(config.tls)
    wanted = PeerIdentity(config.cluster_id, PeerRole.NODE, config.id)
    if tls is not None and tls.identity != wanted:
        raise StartError(
            f"the certificate {config.tls.cert} is of {tls.identity}, and this is {wanted}. Nothing was started; "
            f"raftsched certs node {config.id} makes one"
        )
    return tls


def executor_tls(config: ExecutorProcessConfig) -> Tls | None:
    """As ``tls_of``, of an executor process. Raises StartError: the certificate is not of an executor of this name."""
    tls = tls_of(config.tls)
    if tls is not None and (tls.identity.role, tls.identity.id) != (PeerRole.EXECUTOR, config.name):
        raise StartError(
            f"the certificate {config.tls.cert} is of {tls.identity}, and this executor has the name {config.name}. "
            f"Nothing was started; raftsched certs executor {config.name} makes one"
        )
    return tls


def raft_settings(config: NodeConfig) -> Settings:
    """The timing of a shard."""
    return Settings(
        heartbeat_s=config.raft.heartbeat_ms / 1000,
        election_timeout_min_s=config.raft.election_timeout_min_ms / 1000,
        election_timeout_max_s=config.raft.election_timeout_max_ms / 1000,
    )


def shares(
    config: ExecutorConfig, *, http_connections: int = 0, grpc_connections: int = 0, others: int = 0
) -> open_files.Shares:
    """What this process may have at once, with the open files that it may have; an operator is told of what is less."""
    wanted = open_files.Shares(config.slots, config.remote_slots, http_connections, grpc_connections)
    files = open_files.limit()
    given = open_files.share(files, wanted, others=others)
    if problem := open_files.told(files, wanted, given):
        _log.warning(problem)
    return given


def executor_settings(
    config: ExecutorConfig,
    output: OutputConfig,
    data_dir: Path,
    name: str,
    shares: open_files.Shares,
    *,
    node_id: str = "",
) -> ExecutorSettings:
    """Of an executor in its own process, or in that of the node ``node_id``."""
    return ExecutorSettings(
        data_dir=data_dir,
        name=name,
        slots=shares.slots,
        labels=config.labels,
        node_id=node_id,
        version=VERSION,
        kill_grace_s=config.kill_grace_ms / 1000,
        python_allow=tuple(config.python_allow),
        remote_slots=shares.remote_slots,
        secrets_dir=Path(config.secrets_dir) if config.secrets_dir else None,
        container_socket=config.container_socket,
        output_limit_bytes=output.limit_kib << 10,
        output_keep_s=output.keep_days * 24 * SECONDS_PER_HOUR,
        output_max_bytes=output.max_mib << 20,
    )


def tzdata_version() -> str:
    """Of the time zones that this node computes with."""
    return distribution_version("tzdata")
