"""What an executor pool may be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raftsched.outputs.files import MAX_STORED_BYTES


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """Settings of one executor pool. Raises ValueError, naming the field, when a value is out of range."""

    data_dir: Path
    """Of this pool alone; created when missing. Holds its id and its journal."""
    name: str = "executor"
    """The id of a new pool is this and a random part: executors of several clusters on one machine must differ."""
    slots: int = 32
    """Attempts other than noops that run at a time."""
    labels: Mapping[str, str] = field(default_factory=dict)
    node_id: str = ""
    """The node whose pool this is; empty for an executor-only process."""
    version: str = ""
    """Of the software, for the status table."""
    kill_grace_s: float = 5.0
    """Between TERM and KILL."""
    python_allow: tuple[str, ...] = ()
    """Callables that tasks may name: ``package.module:function``, or ``package.module:*`` for the public functions that
    the module defines itself. Those of the entry point group ``raftsched.callables`` need no mention here."""
    remote_slots: int = 200
    """Attempts that run at a time of those kinds of action that take no slot because their work is done elsewhere."""
    secrets_dir: Path | None = None
    """Files with the values of secrets, named as the secrets."""
    container_socket: str = ""
    """Where the Docker API is served, such as ``unix:///run/docker.sock``. Empty: as DOCKER_HOST says."""
    http_connect_timeout_s: float = 10.0
    http_use_environment: bool = False
    """Obey HTTP_PROXY, HTTPS_PROXY, NO_PROXY and ~/.netrc."""
    running_report_s: float = 0.25
    """An attempt that lasts longer than this is reported as running."""
    gather_s: float = 0.002
    """How long ends are gathered into one message."""
    gather_unhurried_s: float = 0.25
    """How long ends that nobody waits for are gathered."""
    report_batch_items: int = 500
    report_batch_bytes: int = 1024 * 1024
    max_held: int = 100_000
    """Attempts held at a time: waiting, running, or ended and not acknowledged. More are not accepted; when half
    are gone, the executor connects anew, to be given them again."""
    max_held_bytes: int = 96 << 20
    """Of the reports of those that have ended. While they have more, nothing is accepted either."""
    max_armed: int = 100_000
    """Attempts held until their time comes. More are given back."""
    max_armed_bytes: int = 128 << 20
    """Of their assignments. More are given back."""
    remembered: int = 50_000
    """Executions whose end was acknowledged and that are still known, so that a repeated assignment is dropped."""
    journal_rewrite_bytes: int = 32 * 1024 * 1024
    """Size at which the journal is rewritten without what is over."""
    kept_output_bytes: int = 32 * 1024 * 1024
    """Memory for the outputs of attempts that ended and are in no file; the oldest are dropped."""
    output_limit_bytes: int = 1 << 20
    """How much of the output of an attempt is stored; its beginning and its last 64 KiB."""
    output_keep_s: int = 7 * 24 * 3600
    output_max_bytes: int = 1 << 30
    """Of all outputs that are stored; the oldest are deleted beyond."""
    connect_timeout_s: float = 3.0
    """From dialling until the leader's welcome."""
    backoff_low_s: float = 0.05
    backoff_high_s: float = 1.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("slots", 1, 10_000),
            ("remote_slots", 1, 10_000),
            ("kill_grace_s", 0, 3600),
            ("http_connect_timeout_s", 0.01, 3600),
            ("running_report_s", 0, 3600),
            ("gather_s", 0, 1),
            ("report_batch_items", 1, 10_000),
            ("report_batch_bytes", 16 * 1024, 2 * 1024 * 1024),
            ("max_held", 1, 1_000_000),
            ("max_held_bytes", 1, 1 << 40),
            ("max_armed_bytes", 1, 1 << 40),
            ("remembered", 1, 10_000_000),
            ("journal_rewrite_bytes", 4096, 1 << 40),
            ("kept_output_bytes", 0, 1 << 40),
            ("output_limit_bytes", 128 << 10, MAX_STORED_BYTES),
            ("output_keep_s", 1, 1 << 40),
            ("output_max_bytes", 1 << 20, 1 << 50),
            ("connect_timeout_s", 0.01, 3600),
            ("backoff_low_s", 0.001, 3600),
            ("backoff_high_s", self.backoff_low_s, 3600),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must be between {low} and {high}")
        for pattern in self.python_allow:
            module, colon, function = pattern.partition(":")
            if not (module and colon and function):
                raise ValueError(f"python_allow has {pattern!r}; write package.module:function or package.module:*")
