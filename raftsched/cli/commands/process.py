"""``raftsched node`` and ``raftsched executor``: the processes of a cluster."""

import os
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from raftsched.cli.failures import ExitCode, Failure, usage


class LogFormat(StrEnum):
    """How the log is written."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """What is left out of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings in TOML; RAFTSCHED_* variables and flags win.")
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where its state is kept. Never share it.")
]
SlotsOption = Annotated[
    int | None, typer.Option("--slots", metavar="N", min=0, help="Attempts that run at once. Default 16 per CPU.")
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Label of its executor pool. Repeatable."),
]
ProcessCaOption = Annotated[
    str | None, typer.Option("--tls-ca", metavar="FILE", help="Use TLS, and trust these authorities (PEM).")
]
ProcessCertOption = Annotated[
    str | None, typer.Option("--tls-cert", metavar="FILE", help="Its certificate, of raftsched certs.")
]
ProcessKeyOption = Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="The key of that.")]
LogFormatOption = Annotated[LogFormat | None, typer.Option("--log-format", help="Default console.")]
LogLevelOption = Annotated[LogLevel | None, typer.Option("--log-level", help="Default info.")]
InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Use addresses that are not loopback without certificates: trust whoever reaches the ports."
    ),
]
PrintConfigOption = Annotated[
    bool, typer.Option("--print-config", help="Print the settings as a TOML file, with defaults, and end.")
]


def node(
    config: ConfigOption = None,
    node_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Its id among the peers.")] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Address of its gRPC service.")
    ] = None,
    http_listen: Annotated[
        str | None,
        typer.Option(
            "--http-listen",
            metavar="HOST:PORT",
            help='Address of the REST API and the web interface; "off": none. Default: the port of --listen + 1000.',
        ),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            "--peers", metavar="ID=HOST:PORT,...", help="All nodes, this one included. Default: this node alone."
        ),
    ] = None,
    data_dir: DataDirOption = None,
    insecure: InsecureOption = False,
    found: Annotated[
        bool,
        typer.Option(
            "--found", help="Found a cluster if the data of all nodes are empty. Give it to one node; it may stay."
        ),
    ] = False,
    accept_copy: Annotated[
        bool,
        typer.Option("--accept-copy", help="This once: let a copied data directory count as the one it is a copy of."),
    ] = False,
    recover: Annotated[
        str,
        typer.Option(
            "--recover",
            metavar="CODE",
            help="This once: go on alone with what this node has. CODE is of the cluster, as status shows it.",
        ),
    ] = "",
    slots: SlotsOption = None,
    label: LabelOption = None,
    tls_ca: ProcessCaOption = None,
    tls_cert: ProcessCertOption = None,
    tls_key: ProcessKeyOption = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Run a node of a cluster until SIGTERM or SIGINT.

    \b
    Examples:
      raftsched node --id n1 --listen 127.0.0.1:7101 --data-dir /var/lib/raftsched --found
      raftsched node --config /etc/raftsched.toml --print-config
      raftsched node --id n1 --listen 10.0.0.1:7101 --data-dir /var/lib/raftsched \\
          --peers n1=10.0.0.1:7101,n2=10.0.0.2:7101,n3=10.0.0.3:7101 --found --insecure
    """
    given = _given(
        id=node_id,
        listen=listen,
        http_listen=http_listen,
        peers=peers,
        data_dir=data_dir,
        insecure=insecure or None,
        found=found or None,
        slots=slots,
        label=label,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        log_format=log_format,
        log_level=log_level,
    )
    _run("node", config, given, print_config, accept_copy=accept_copy, recover=recover)


def executor(
    config: ConfigOption = None,
    join: Annotated[
        str | None, typer.Option("--join", metavar="HOST:PORT,...", help="Nodes of the cluster to work for.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Its id begins with this. Default: the name of the machine."),
    ] = None,
    data_dir: DataDirOption = None,
    insecure: InsecureOption = False,
    slots: SlotsOption = None,
    label: LabelOption = None,
    tls_ca: ProcessCaOption = None,
    tls_cert: ProcessCertOption = None,
    tls_key: ProcessKeyOption = None,
    log_format: LogFormatOption = None,
    log_level: LogLevelOption = None,
    print_config: PrintConfigOption = False,
) -> None:
    """Run an executor that votes in no cluster. SIGTERM drains it: it finishes what it has and takes nothing new.

    \b
    Examples:
      raftsched executor --join 10.0.0.1:7101,10.0.0.2:7101 --data-dir /var/lib/raftsched --label disk=ssd \\
          --insecure
    """
    given = _given(
        join=join,
        name=name,
        data_dir=data_dir,
        insecure=insecure or None,
        slots=slots,
        label=label,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        log_format=log_format,
        log_level=log_level,
    )
    _run("executor", config, given, print_config)


def _given(**flags: object) -> dict[str, object]:
    values = {name: flag.value if isinstance(flag, Enum) else flag for name, flag in flags.items()}
    return {name: value for name, value in values.items() if value is not None and value != []}


def _run(
    kind: Literal["node", "executor"],
    file: Path | None,
    flags: dict[str, object],
    print_config: bool,
    *,
    accept_copy: bool = False,
    recover: str = "",
) -> None:
    from raftsched.config import ConfigError, NodeConfig, load, render

    try:
        settings = load(kind, file, os.environ, flags)
    except ConfigError as error:
        raise usage(str(error)) from error
    if print_config:
        print(render(settings), end="")
        return
    if settings.tls.on:
        _allow_tls_1_3_only()
    from raftsched.node.errors import Outdated, StartError, Stopped
    from raftsched.node.run import run_executor, run_node
    from raftsched.node.settings import Once

    try:
        if isinstance(settings, NodeConfig):
            run_node(settings, Once(accept_copy, recover))
        else:
            run_executor(settings)
    except Outdated as error:
        raise Failure(str(error), ExitCode.OUTDATED) from error
    except (StartError, Stopped) as error:
        raise Failure(str(error), ExitCode.FAILURE) from error


_CIPHERS = "GRPC_SSL_CIPHER_SUITES"


def _allow_tls_1_3_only() -> None:
    """Leave gRPC no cipher of TLS 1.2 that can be used here, before it is loaded: Python cannot tell it a version.

    Those of a key shared beforehand need one, and no process of ours has any; the ciphers of TLS 1.3 are not chosen
    by this. It is for all gRPC of this process, also that of actions, unless the variable is set already.
    """
    if not os.environ.get(_CIPHERS):
        os.environ[_CIPHERS] = "ECDHE-PSK-CHACHA20-POLY1305"
        import grpc  # noqa: F401 - reads it now, once

        # What tasks run gets the environment of this process, and may use gRPC too.
        del os.environ[_CIPHERS]
