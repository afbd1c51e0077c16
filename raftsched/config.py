"""Settings of a node or an executor process, checked before anything starts.

They come from a TOML file, from ``RAFTSCHED_*`` variables and from flags; a later source wins. ``RAFTSCHED_DATA_DIR``
sets ``data_dir``, ``RAFTSCHED_RAFT__HEARTBEAT_MS`` sets ``heartbeat_ms`` in the section ``raft``.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from raftsched.config_problems import ID_PATTERN, SOCKET_PATTERN, Origins, told
from raftsched.hosts import MalformedHost, parse_origin, parse_pattern
from raftsched.secret_setting import Secret, SecretUrl
from raftsched.toml_text import TomlError, decode, line_of_key, parse, written, written_key

ENV_PREFIX = "RAFTSCHED_"
HTTP_PORT_OFFSET = 1_000
_OTHER_VARIABLES = frozenset(
    # The client's, and those that every attempt gets.
    ENV_PREFIX + name
    for name in (
        "ENDPOINTS",
        "TLS_CA",
        "TLS_CERT",
        "TLS_KEY",
        "CONFIG",
        "TASK",
        "EXECUTOR_ID",
        "EXECUTION_ID",
        "NOMINAL_TIME",
        "ATTEMPT",
        "FENCING_TOKEN",
        "PARENT_EXECUTION_ID",
    )
)
_SECRET_PREFIX = ENV_PREFIX + "SECRET_"
"""Variables that hold secrets of tasks, and no settings."""


class ConfigError(Exception):
    """The settings cannot be used; the message names each key, what it was and what it may be."""


def _pairs(value: object) -> object:
    """Accepts "a=x,b=y" and ["a=x", "b=y"] where a table of strings is meant."""
    if isinstance(value, str):
        value = [part for part in value.split(",") if part]
    if isinstance(value, list):
        for part in value:
            if not isinstance(part, str) or "=" not in part:
                raise ValueError(f"{part!r} is not of the form name=value")
        pairs = [part.strip().split("=", 1) for part in value]
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is there twice")
        return dict(pairs)
    return value


def _strings(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


_ALL_ADDRESSES = {"0.0.0.0", "[::]", "::", "*"}  # noqa: S104  # compared with, not bound to


def _address(value: object) -> object:
    host, colon, port = str(value).rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        raise ValueError("must be of the form host:port with a port from 1 to 65535")
    return value


def _http_address(value: object) -> object:
    return value if value in ("", "off") else _address(value)


def _directory(value: object) -> object:
    if value == "":
        raise ValueError("must name a directory")
    return value


def _secret_pairs(value: object) -> object:
    try:
        return _pairs(value)
    except ValueError:
        # The words for it would repeat a part of what was given.
        raise ValueError("must be of the form name=value, each name once") from None


def _headers(value: dict[str, Secret]) -> dict[str, Secret]:
    # Libraries of the sinks encode other texts in ways of their own, or fail with each request.
    for name, secret in value.items():
        text = secret.reveal()
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[!-~]([ -~]*[!-~])?|", text):
            raise ValueError(f"the header {name!r} must be of printable ASCII, without blanks at its ends")
    return value


def _callable(value: str) -> str:
    module, colon, function = value.partition(":")
    if not (module and colon and function):
        raise ValueError("write package.module:function or package.module:*")
    return value


def _host_pattern(value: str) -> str:
    try:
        return parse_pattern(value)
    except MalformedHost:
        raise ValueError('write a name without a port, an IP address, *.domain, or "*"') from None


def _origin(value: str) -> str:
    try:
        return parse_origin(value)
    except MalformedHost:
        raise ValueError("write the origin of a page: http or https, ://, and a host with or without a port") from None


Address = Annotated[str, BeforeValidator(_address)]
HttpAddress = Annotated[str, BeforeValidator(_http_address)]
Id = Annotated[str, Field(pattern=ID_PATTERN)]
Callable = Annotated[str, AfterValidator(_callable)]
Origin = Annotated[str, AfterValidator(_origin)]
HostPattern = Annotated[str, AfterValidator(_host_pattern)]
Directory = Annotated[Path, BeforeValidator(_directory)]
Labels = Annotated[dict[str, str], BeforeValidator(_pairs), Field(max_length=32)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        # Pydantic takes true for 1.
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in (int, float):
            raise ValueError("must be a number")
        return value


class LogConfig(_Section):
    """Where the log of the process goes."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class RaftConfig(_Section):
    """Periods of the consensus. The defaults suit nodes within a few milliseconds of each other."""

    heartbeat_ms: int = Field(100, ge=10, le=5_000)
    election_timeout_min_ms: int = Field(700, ge=100, le=60_000)
    election_timeout_max_ms: int = Field(1_400, ge=150, le=120_000)

    @model_validator(mode="after")
    def _in_order(self) -> "RaftConfig":
        if self.election_timeout_min_ms <= 3 * self.heartbeat_ms:
            raise ValueError("election_timeout_min_ms must be more than 3 times heartbeat_ms")
        if self.election_timeout_max_ms <= self.election_timeout_min_ms:
            raise ValueError("election_timeout_max_ms must be more than election_timeout_min_ms")
        return self


class SchedulerConfig(_Section):
    """What the leader does, and how long records are kept."""

    lease_ms: int = Field(5_000, ge=500, le=600_000)
    decide_ahead_ms: int = Field(1_000, ge=0, le=4_000)
    keep_executions_hours: float = Field(7 * 24, ge=0.1, le=10 * 365 * 24, allow_inf_nan=False)
    keep_executions_count: int = Field(1_000_000, ge=1_000)
    keep_ledger_hours: float = Field(30 * 24, ge=0.1, le=10 * 365 * 24, allow_inf_nan=False)


class StateCheckConfig(_Section):
    """The comparison of the state tables of all nodes: passes over all rows, in small steps."""

    pause_s: int = Field(600, ge=0, le=30 * 24 * 3600)
    """Between two passes; 0: there are none."""
    step_ms: int = Field(1_000, ge=1, le=60_000)
    """Between two steps of at most 1,000 rows."""


class SinkConfig(_Section):
    """One place that the history is shipped to."""

    kind: Literal["jsonl", "elasticsearch", "otlp"]
    target: SecretUrl = Field(min_length=1, max_length=1_000)
    """jsonl: a file, or "-" for standard output. elasticsearch: URL of the server. otlp: URL that takes logs."""
    headers: Annotated[dict[str, Secret], BeforeValidator(_secret_pairs), AfterValidator(_headers)] = Field(
        default_factory=dict
    )
    """Sent with each request, such as authorization."""
    index: str = "raftsched"
    """elasticsearch: the index or data stream that is written to."""

    @model_validator(mode="after")
    def _url(self) -> "SinkConfig":
        if self.kind != "jsonl" and not self.target.reveal().startswith(("http://", "https://")):
            raise ValueError(f"the target of a sink of kind {self.kind} is a URL, http:// or https://")
        return self


class HistoryConfig(_Section):
    """The history index of this node: what it keeps. Set it alike on all nodes, so that they answer alike."""

    enabled: bool = True
    """Off: this node answers no searches, and ships nothing."""
    keep_days: int = Field(30, ge=1, le=3_650)
    keep_per_task: int = Field(10_000, ge=10, le=10_000_000)
    """Records of one task."""
    max_mib: int = Field(4_096, ge=16, le=1 << 20)
    """Size of the index; the oldest records are deleted beyond it."""
    output_kib: int = Field(256, ge=0, le=8_192)
    """How much of each stored output is indexed, half from its beginning and half from its end; 0: the last 4 KiB."""
    sinks: dict[Id, SinkConfig] = Field(default_factory=dict, max_length=8)
    """By name, which is how the cluster remembers what has been shipped. The same on all nodes: the leader ships."""


class OutputConfig(_Section):
    """Output that is longer than the 4 KiB which the log holds: of the executor, and copies of what others ran."""

    limit_kib: int = Field(1_024, ge=128, le=8_192)
    """How much of the output of an attempt is stored: its beginning and its last 64 KiB. The rest is counted."""
    keep_days: int = Field(7, ge=1, le=3_650)
    max_mib: int = Field(1_024, ge=16, le=1 << 20)
    """Of what the executor ran, and again of the copies; the oldest are deleted beyond it."""


class ExecutorConfig(_Section):
    """The pool that runs attempts."""

    slots: int = Field(default_factory=lambda: 16 * (os.cpu_count() or 1), ge=0, le=10_000)
    """Attempts that run at once; 0: this node runs none. An executor process has at least 1."""
    labels: Labels = Field(default_factory=dict)
    python_allow: Annotated[list[Callable], BeforeValidator(_strings)] = Field(default_factory=list)
    """Callables that tasks may name: `package.module:function` or `package.module:*`."""
    kill_grace_ms: int = Field(5_000, ge=0, le=600_000)
    """Between TERM and KILL."""
    remote_slots: int = Field(200, ge=1, le=10_000)
    """Attempts at once of actions that hold no slot, such as AWS Lambda."""
    secrets_dir: str = ""
    """Directory of files, each with the value of the secret that it is named for. Left out: none."""
    container_socket: str = Field("", pattern=SOCKET_PATTERN)
    """Where the Docker API is served, such as unix:///run/docker.sock. Left out: as DOCKER_HOST says."""


class TlsConfig(_Section):
    """Certificates: of this process, and of the authorities that it trusts. All empty: nothing is encrypted."""

    ca: str = ""
    """File with the authorities that are trusted, in PEM."""
    cert: str = ""
    """File with the certificate of this process, in PEM."""
    key: str = ""
    """File with its key, in PEM without a password."""

    @model_validator(mode="after")
    def _all_or_none(self) -> Self:
        missing = [name for name in ("ca", "cert", "key") if not getattr(self, name)]
        if 0 < len(missing) < len(("ca", "cert", "key")):
            raise ValueError(f"ca, cert and key go together; missing: {', '.join(missing)}")
        return self

    @property
    def on(self) -> bool:
        """Whether connections are protected."""
        return bool(self.cert)


class NodeTlsConfig(TlsConfig):
    """As of any process, and what is asked of users over HTTP."""

    client_auth: Literal["required", "grpc"] = "required"
    """grpc: REST API and web interface ask for no certificate of users; gRPC does."""


class NodeConfig(_Section):
    """A node of the cluster."""

    id: Id
    listen: Address
    peers: Annotated[dict[Id, Address], BeforeValidator(_pairs)] = Field(default_factory=dict)
    """All voting nodes, this one included, by id. Left out: a cluster of this node alone."""
    http_listen: HttpAddress = ""
    """REST API and web interface. Left out: the host of ``listen`` and its port + 1000. "off": none."""
    http_origins: Annotated[list[Origin], BeforeValidator(_strings)] = Field(default_factory=list)
    """Other origins, such as https://ops.example.org, whose pages may use the REST API."""
    http_hosts: Annotated[list[HostPattern], BeforeValidator(_strings)] = Field(default_factory=list)
    """Other names under which it is served, such as raftsched.example.org or *.example.org; "*": any."""
    insecure: bool = False
    """Listen without certificates on addresses that are not loopback: whoever reaches them is trusted."""
    data_dir: Directory
    cluster_id: Id = "raftsched"
    found: bool = False
    """Found a cluster if the data directory is empty, and so are those of all other nodes. It may stay set."""
    hold_cluster_version: int = Field(0, ge=0, le=1_000)
    """The cluster version is not raised above this; 0: it is raised when all members know a newer one."""
    max_data_gib: int = Field(64, ge=1, le=16_384)
    tls: NodeTlsConfig = NodeTlsConfig()
    log: LogConfig = LogConfig()
    raft: RaftConfig = RaftConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    state_check: StateCheckConfig = StateCheckConfig()
    history: HistoryConfig = HistoryConfig()
    output: OutputConfig = OutputConfig()
    executor: ExecutorConfig = Field(default_factory=ExecutorConfig)

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("peers") and "id" in values and "listen" in values:
            values = {**values, "peers": {values["id"]: values["listen"]}}
        return values

    @model_validator(mode="before")
    @classmethod
    def _http_beside(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("http_listen"):
            return values
        host, _, port = str(values.get("listen", "")).rpartition(":")
        if not port.isdigit() or int(port) > 65535:
            return values
        if int(port) + HTTP_PORT_OFFSET > 65535:
            raise ValueError(f"http_listen is required: {port} + {HTTP_PORT_OFFSET} is no port")
        return {**values, "http_listen": f"{host}:{int(port) + HTTP_PORT_OFFSET}"}

    @model_validator(mode="after")
    def _among_peers(self) -> "NodeConfig":
        if self.id not in self.peers:
            raise ValueError(f"peers must name this node, {self.id!r}; they are {', '.join(sorted(self.peers))}")
        if len(set(self.peers.values())) != len(self.peers):
            raise ValueError("two of the peers have the same address")
        if len(self.peers) not in (1, 3, 5, 7):
            raise ValueError(f"a cluster has 1, 3, 5 or 7 nodes, not {len(self.peers)}")
        return self

    def http_address(self) -> str:
        """host:port at which others reach the REST API and web interface; "" when this node serves none.

        A node that listens at all addresses is reached at the host of its own address among the peers.
        """
        if self.http_listen == "off":
            return ""
        host, _, port = self.http_listen.rpartition(":")
        if host in _ALL_ADDRESSES:
            host = self.peers[self.id].rpartition(":")[0]
        return f"{host}:{port}"


class ExecutorProcessConfig(_Section):
    """A process that runs attempts and votes in no cluster."""

    join: Annotated[list[Address], BeforeValidator(_strings), Field(min_length=1)]
    insecure: bool = False
    """Join without certificates at addresses that are not loopback: whoever is on the way is trusted."""
    data_dir: Directory
    name: Id = Field(default_factory=lambda: socket.gethostname().partition(".")[0] or "executor")
    """Its id is this and a random part, made at the first start and kept in the data directory."""
    tls: TlsConfig = TlsConfig()
    log: LogConfig = LogConfig()
    output: OutputConfig = OutputConfig()
    executor: ExecutorConfig = Field(default_factory=ExecutorConfig)

    @model_validator(mode="after")
    def _has_slots(self) -> "ExecutorProcessConfig":
        if not self.executor.slots:
            raise ValueError("executor.slots must be at least 1: an executor process does nothing but run attempts")
        return self


_KINDS: dict[str, type[NodeConfig] | type[ExecutorProcessConfig]] = {
    "node": NodeConfig,
    "executor": ExecutorProcessConfig,
}
_FLAG_PATHS = {
    "slots": ("executor", "slots"),
    "tls_ca": ("tls", "ca"),
    "tls_cert": ("tls", "cert"),
    "tls_key": ("tls", "key"),
    "label": ("executor", "labels"),
    "log_format": ("log", "format"),
    "log_level": ("log", "level"),
}


def load(
    kind: Literal["node", "executor"],
    file: Path | None = None,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> NodeConfig | ExecutorProcessConfig:
    """Merge the sources and check the result.

    ``flags`` are those that were given, by name with underscores. Raises ConfigError.
    """
    values, text = _read_file(file)
    origins: dict[tuple[str, ...], str] = {}
    for name, value in (env or {}).items():
        if name.startswith(ENV_PREFIX) and name not in _OTHER_VARIABLES and not name.startswith(_SECRET_PREFIX):
            path = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
            _set(values, path, value)
            origins[path] = name
    for name, flag in (flags or {}).items():
        path = _FLAG_PATHS.get(name, (name,))
        _set(values, path, flag)
        origins[path] = f"--{name.replace('_', '-')}"
    try:
        return _KINDS[kind].model_validate(values)
    except ValidationError as error:
        raise ConfigError(told(error, _places(error, file, text, origins))) from None


def _read_file(file: Path | None) -> tuple[dict[str, Any], str]:
    """What it says, and its text."""
    if file is None:
        return {}, ""
    try:
        text = decode(file.read_bytes())
        return parse(text), text
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {file}: {error.strerror}") from None
    except TomlError as error:
        raise ConfigError(f"the configuration file is not TOML: {file}:{error.line}: {error}") from None


def _places(error: ValidationError, file: Path | None, text: str, origins: Mapping[tuple[str, ...], str]) -> Origins:
    """Where each value that is refused comes from: of the file, the line."""
    found = dict(origins)
    for problem in error.errors(include_url=False):
        path = tuple(problem["loc"])
        names = tuple(map(str, path))
        if not text or any(names[:length] in origins for length in range(1, len(path) + 1)):
            continue
        for length in range(len(path), 0, -1):
            if line := line_of_key(text, path[:length]):
                found[names[:length]] = f"{file}:{line}"
                break
    return found


def _set(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for section in path[:-1]:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{section} is a section, not a value")
        values = inner
    values[path[-1]] = value


def render(config: NodeConfig | ExecutorProcessConfig) -> str:
    """The settings as the TOML file that would give them, but for secrets, which are masked."""
    values = config.model_dump(mode="json")
    sections = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines = [f"{key} = {written(value)}" for key, value in values.items() if key not in sections]
    for name, section in sections.items():
        lines += ["", f"[{name}]", *(f"{written_key(key)} = {written(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"
