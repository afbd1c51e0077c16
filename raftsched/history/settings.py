"""What the history index of a node may be told."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from raftsched.secret_setting import Secret, SecretUrl


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One place that records are shipped to."""

    name: str
    kind: str
    """jsonl, elasticsearch or otlp."""
    target: SecretUrl
    """A path or "-" (standard output); a URL."""
    headers: dict[str, Secret] = field(default_factory=dict)
    index: str = "raftsched"
    """Of Elasticsearch or OpenSearch."""

    def revealed_headers(self) -> dict[str, str]:
        """For the requests."""
        return {name: value.reveal() for name, value in self.headers.items()}

    def secrets(self) -> list[str]:
        """What no log, error or status may show."""
        return [part for each in (self.target, *self.headers.values()) for part in each.parts()]

    def to_json(self) -> dict[str, Any]:
        """With its secrets, for the pipe to the process that ships."""
        revealed = {"target": self.target.reveal(), "headers": self.revealed_headers()}
        return {"name": self.name, "kind": self.kind, "index": self.index, **revealed}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SinkSettings":
        """What ``to_json`` gave."""
        headers = {name: Secret(text) for name, text in value["headers"].items()}
        return cls(**{**value, "target": SecretUrl(value["target"]), "headers": headers})


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Settings of the process that keeps the index of one node."""

    path: Path
    """The SQLite file."""
    store_path: Path
    store_max_bytes: int
    cluster_id: str
    node_id: str
    keep_s: int = 30 * 24 * 3600
    keep_per_task: int = 10_000
    keep_bytes: int = 4 << 30
    output_bytes: int = 256 << 10
    """How much of each stored output is indexed; 0: none."""
    output_directories: tuple[Path, ...] = ()
    """Where outputs are stored at this node."""
    sinks: tuple[SinkSettings, ...] = ()
    tls: dict[str, str] = field(default_factory=dict)
    """Paths ``ca``, ``cert`` and ``key`` with which other nodes are reached; empty: in plain text."""
    log: dict[str, str] = field(default_factory=dict)
    """As ``config.LogConfig``."""

    def to_json(self) -> dict[str, Any]:
        """As the process is given them."""
        directories = [str(each) for each in self.output_directories]
        paths = {"path": str(self.path), "store_path": str(self.store_path), "output_directories": directories}
        return {**asdict(self), **paths, "sinks": [each.to_json() for each in self.sinks]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "HistorySettings":
        """What ``to_json`` gave."""
        sinks = tuple(SinkSettings.from_json(sink) for sink in value.pop("sinks"))
        path, store_path = Path(value.pop("path")), Path(value.pop("store_path"))
        directories = tuple(map(Path, value.pop("output_directories")))
        return cls(**value, path=path, store_path=store_path, output_directories=directories, sinks=sinks)
