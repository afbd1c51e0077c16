"""From the options of ``task create`` and ``task update`` to what a task does."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raftsched.cli.failures import usage
from raftsched.cli.files.text import at_line, decode
from raftsched.cli.files.values import core
from raftsched.cli.flags.options import Pull, parse_pairs, size

if TYPE_CHECKING:
    from raftsched_client import Action, AwsLambdaAction, ContainerAction, ExtensionAction, GrpcAction, HttpAction

_ACTION = "Action (one of -- PROGRAM, --shell, --http, --python, --grpc, --lambda, --container, --extension, --noop)"
_PROGRAM = "-- PROGRAM"
_PROGRAMS = (_PROGRAM, "--shell")
_EXTRAS = {
    (*_PROGRAMS, "--container"): ("env", "workdir"),
    _PROGRAMS: ("stdin",),
    ("--http",): ("method", "header", "body", "expect"),
    ("--python",): ("kwargs",),
    ("--grpc",): ("rpc", "request", "metadata", "tls", "descriptor_set"),
    ("--lambda",): ("qualifier", "payload", "event", "region", "attempt_key"),
    ("--container",): ("entrypoint", "user", "memory", "cpus", "pull", "network"),
    ("--extension",): ("parameters",),
}
"""Options that go with some kinds of action only."""


@dataclass(frozen=True)
class ActionFlags:
    """What the task does."""

    shell: Annotated[
        str | None,
        typer.Option("--shell", metavar="SCRIPT", help="A script for /bin/sh.", rich_help_panel=_ACTION),
    ] = None
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="KEY=VALUE",
            help="Add to the environment of a program or container. Repeatable.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    workdir: Annotated[
        str | None,
        typer.Option(
            "--workdir", metavar="DIR", help="Working directory of a program or container.", rich_help_panel=_ACTION
        ),
    ] = None
    stdin: Annotated[
        str | None,
        typer.Option("--stdin", metavar="TEXT|@FILE", help="Standard input of a program.", rich_help_panel=_ACTION),
    ] = None
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="URL", help="Make one HTTP request.", rich_help_panel=_ACTION),
    ] = None
    method: Annotated[
        str | None,
        typer.Option("--method", metavar="METHOD", help="HTTP method. Default GET.", rich_help_panel=_ACTION),
    ] = None
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'NAME: VALUE'", help="HTTP header. Repeatable.", rich_help_panel=_ACTION),
    ] = None
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="TEXT|@FILE", help="HTTP body.", rich_help_panel=_ACTION),
    ] = None
    expect: Annotated[
        list[int] | None,
        typer.Option(
            "--expect",
            metavar="STATUS",
            min=100,
            max=599,
            help="HTTP status that counts as success. Repeatable. Default any of 200 to 299.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    python: Annotated[
        str | None,
        typer.Option(
            "--python",
            metavar="MODULE:FUNCTION",
            help="Call a function that the operator has allowed.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    kwargs: Annotated[
        str | None,
        typer.Option("--kwargs", metavar="JSON", help="Keyword arguments of --python.", rich_help_panel=_ACTION),
    ] = None
    grpc: Annotated[
        str | None,
        typer.Option(
            "--grpc", metavar="HOST:PORT", help="Make one unary gRPC call to this server.", rich_help_panel=_ACTION
        ),
    ] = None
    rpc: Annotated[
        str | None,
        typer.Option(
            "--rpc", metavar="SERVICE/METHOD", help="Method of --grpc, with its package.", rich_help_panel=_ACTION
        ),
    ] = None
    request: Annotated[
        str | None,
        typer.Option(
            "--request",
            metavar="JSON|@FILE",
            help="Request of --grpc, in protobuf's JSON mapping. Default {}.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            "--metadata", metavar="KEY=VALUE", help="Metadata of --grpc. Repeatable.", rich_help_panel=_ACTION
        ),
    ] = None
    tls: Annotated[
        bool | None,
        typer.Option("--tls/--no-tls", help="Connect --grpc with TLS.", rich_help_panel=_ACTION),
    ] = None
    descriptor_set: Annotated[
        str | None,
        typer.Option(
            "--descriptor-set",
            metavar="@FILE",
            help="Descriptor set of --grpc, for a server without reflection.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    function: Annotated[
        str | None,
        typer.Option(
            "--lambda",
            metavar="FUNCTION",
            help="Invoke a function of AWS Lambda: name or ARN.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    qualifier: Annotated[
        str | None,
        typer.Option("--qualifier", metavar="NAME", help="Version or alias of --lambda.", rich_help_panel=_ACTION),
    ] = None
    payload: Annotated[
        str | None,
        typer.Option(
            "--payload", metavar="JSON|@FILE", help="What --lambda is given. Default {}.", rich_help_panel=_ACTION
        ),
    ] = None
    event: Annotated[
        bool | None,
        typer.Option(
            "--event/--no-event",
            help="Only hand the event to --lambda, and do not wait for its end.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="REGION",
            help="Region of --lambda. Default: that of the executor's environment.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    attempt_key: Annotated[
        str | None,
        typer.Option(
            "--attempt-key",
            metavar="KEY",
            help="Add the identity of the attempt to the payload of --lambda under this key.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    container: Annotated[
        str | None,
        typer.Option(
            "--container",
            metavar="IMAGE",
            help="Run an image; a program behind the double dash replaces its command.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    entrypoint: Annotated[
        list[str] | None,
        typer.Option(
            "--entrypoint", metavar="WORD", help="Entry point of --container. Repeatable.", rich_help_panel=_ACTION
        ),
    ] = None
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="USER[:GROUP]", help="User within --container.", rich_help_panel=_ACTION),
    ] = None
    memory: Annotated[
        int | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="Memory limit of --container, such as 512MiB.",
            parser=size,
            rich_help_panel=_ACTION,
        ),
    ] = None
    cpus: Annotated[
        float | None,
        typer.Option(
            "--cpus", metavar="N", help="CPU limit of --container, such as 1.5.", min=0.01, rich_help_panel=_ACTION
        ),
    ] = None
    pull: Annotated[
        Pull | None,
        typer.Option(
            "--pull", help="When to fetch the image of --container. Default if-not-present.", rich_help_panel=_ACTION
        ),
    ] = None
    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME", help="Network of --container.", rich_help_panel=_ACTION),
    ] = None
    extension: Annotated[
        str | None,
        typer.Option(
            "--extension",
            metavar="KIND",
            help="Run an action of a kind that the executors have been extended with.",
            rich_help_panel=_ACTION,
        ),
    ] = None
    parameters: Annotated[
        str | None,
        typer.Option(
            "--parameters", metavar="JSON|@FILE", help="Parameters of --extension. Default {}.", rich_help_panel=_ACTION
        ),
    ] = None
    noop: Annotated[bool, typer.Option("--noop", help="Do nothing, successfully.", rich_help_panel=_ACTION)] = False

    def given(self, argv: list[str] | None) -> bool:
        """Whether any of them, or a program, is."""
        return bool(argv) or any(getattr(self, field.name) not in (None, False) for field in fields(self))

    def action(self, argv: list[str] | None) -> Action:
        """The action. Raises Failure: there is none or more than one, or an option belongs to another."""
        from raftsched_client import action

        kinds = {
            # A container takes the program as its command.
            _PROGRAM: (argv or None) if self.container is None else None,
            "--shell": self.shell,
            "--http": self.http,
            "--python": self.python,
            "--grpc": self.grpc,
            "--lambda": self.function,
            "--container": self.container,
            "--extension": self.extension,
            "--noop": self.noop or None,
        }
        given = [flag for flag, value in kinds.items() if value is not None]
        if len(given) != 1:
            raise usage(f"give exactly one of {', '.join(kinds)}, not {' and '.join(given) or 'none'}")
        self._check_extras(given[0])
        program = given[0] in _PROGRAMS
        return action(
            command=argv if given[0] == _PROGRAM else None,
            shell=self.shell,
            env=self._env() if program else None,
            working_directory=self.workdir if program else None,
            stdin=None if self.stdin is None else text_or_file("--stdin", self.stdin),
            http=self._http(),
            python=self.python,
            kwargs=self._kwargs(),
            grpc=self._grpc(),
            aws_lambda=self._lambda(),
            container=self._container(argv),
            extension=self._extension(),
            noop=self.noop,
        )

    def _check_extras(self, kind: str) -> None:
        for owners, names in _EXTRAS.items():
            for name in names:
                if getattr(self, name) is not None and kind not in owners:
                    raise usage(f"--{name.replace('_', '-')} goes with {' or '.join(owners)} only")

    def _env(self) -> dict[str, str] | None:
        return parse_pairs("--env", self.env) if self.env else None

    def _http(self) -> HttpAction | None:
        from raftsched_client import HttpAction

        if self.http is None:
            return None
        headers: dict[str, str] = {}
        for header in self.header or []:
            name, colon, value = header.partition(":")
            if not colon or not name.strip():
                raise usage(f"--header: {header!r} is not 'Name: value'")
            headers[name.strip()] = value.strip()
        return HttpAction(
            method=self.method or "",
            url=self.http,
            headers=headers,
            body=b"" if self.body is None else text_or_file("--body", self.body),
            expected_statuses=self.expect,
        )

    def _kwargs(self) -> dict[str, object] | None:
        if self.kwargs is None:
            return None
        try:
            values = core(_value("--kwargs", "", self.kwargs))
        except ValueError as error:
            raise usage(f"--kwargs: {error}") from error
        if not isinstance(values, dict):
            raise usage("--kwargs: must be a JSON object such as '{\"days\": 7}'")
        return values

    def _grpc(self) -> GrpcAction | None:
        from raftsched_client import GrpcAction

        if self.grpc is None:
            return None
        return GrpcAction(
            target=self.grpc,
            method=self.rpc or "",
            request_json=_json("--request", self.request),
            metadata=parse_pairs("--metadata", self.metadata),
            tls=self.tls or False,
            descriptor_set=text_or_file("--descriptor-set", self.descriptor_set) if self.descriptor_set else b"",
        )

    def _lambda(self) -> AwsLambdaAction | None:
        from raftsched_client import AwsLambdaAction

        if self.function is None:
            return None
        return AwsLambdaAction(
            function=self.function,
            qualifier=self.qualifier or "",
            payload_json=_json("--payload", self.payload),
            event=self.event or False,
            region=self.region or "",
            attempt_key=self.attempt_key or "",
        )

    def _container(self, argv: list[str] | None) -> ContainerAction | None:
        from raftsched_client import ContainerAction, PullPolicy

        if self.container is None:
            return None
        return ContainerAction(
            image=self.container,
            command=argv,
            entrypoint=self.entrypoint,
            env=self._env(),
            working_directory=self.workdir or "",
            user=self.user or "",
            memory_limit_bytes=self.memory or 0,
            cpu_limit_millis=round((self.cpus or 0) * 1000),
            pull_policy=PullPolicy.Value(f"PULL_POLICY_{self.pull.name if self.pull else 'UNSPECIFIED'}"),
            network=self.network or "",
        )

    def _extension(self) -> ExtensionAction | None:
        from raftsched_client import ExtensionAction

        if self.extension is None:
            return None
        return ExtensionAction(kind=self.extension, parameters_json=_json("--parameters", self.parameters))


def _json(flag: str, value: str | None) -> str:
    """JSON text, or that of a file, as it was written. Raises Failure: it is none, with the line in the file."""
    if value is None:
        return ""
    text = text_of(flag, value)
    _value(flag, value, text)
    return text


def _value(flag: str, value: str, text: str) -> Any:
    from raftsched.cli.files.json_reader import parse_json

    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        place = f"{at_line(value[1:], error.lineno)}: " if value.startswith("@") else ""
        raise usage(f"{flag}: {place}not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError:
        raise usage(f"{flag}: not JSON that is read: nested too deeply") from None


def text_of(flag: str, value: str) -> str:
    """The value, or the text of the file that it names by ``@FILE``. Raises Failure: it is none in UTF-8."""
    return decode(text_or_file(flag, value), f"{flag}: {value[1:]}" if value.startswith("@") else flag)


def text_or_file(flag: str, value: str) -> bytes:
    """The value, or what the file holds that it names by ``@FILE``. Raises Failure: the file cannot be read."""
    if not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    try:
        return Path(value[1:]).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise usage(f"{flag}: cannot read {value[1:]}: {reason}") from error
