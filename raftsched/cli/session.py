"""What every command that talks to a cluster has in common: its options, its client, its errors."""

from __future__ import annotations

import dataclasses
import getpass
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec, get_type_hints

import typer

from raftsched.cli.failures import Failure, client_errors, from_client, usage
from raftsched.cli.reach import Reach
from raftsched.cli.settings import TLS_KEYS, find_endpoints, find_tls
from raftsched.cli.show.output import Format
from raftsched.cli.suggest import suggestions
from raftsched.cli.times import parse_duration

if TYPE_CHECKING:
    from raftsched_client import Client, RaftschedError, Tls

P = ParamSpec("P")
DEFAULT_TIMEOUT = timedelta(seconds=10)
_COMPLETION_TIMEOUT_S = 2.0
_PANEL = "Connection and output"


def duration(text: str) -> timedelta:
    """A time span, for typer."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


EndpointsOption = Annotated[
    str | None,
    typer.Option(
        "--endpoints",
        metavar="HOST:PORT,...",
        help="Nodes to talk to; any of them will do. Default: RAFTSCHED_ENDPOINTS, then the config file, then "
        "127.0.0.1:7101 to 7103.",
        rich_help_panel=_PANEL,
    ),
]
TimeoutOption = Annotated[
    timedelta | None,
    typer.Option(
        "--timeout",
        parser=duration,
        metavar="SPAN",
        help="Deadline of each call, retries included, such as 3s. Default 10s.",
        rich_help_panel=_PANEL,
    ),
]
TlsCaOption = Annotated[
    str | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        help="Use TLS, and trust these authorities (PEM). Default: RAFTSCHED_TLS_CA, then the config file.",
        rich_help_panel=_PANEL,
    ),
]
TlsCertOption = Annotated[
    str | None,
    typer.Option(
        "--tls-cert", metavar="FILE", help="Your certificate. Default: RAFTSCHED_TLS_CERT.", rich_help_panel=_PANEL
    ),
]
TlsKeyOption = Annotated[
    str | None,
    typer.Option("--tls-key", metavar="FILE", help="Its key. Default: RAFTSCHED_TLS_KEY.", rich_help_panel=_PANEL),
]
OutputOption = Annotated[
    Format | None,
    typer.Option(
        "-o",
        "--output",
        help="Print a table, or the API message as JSON or YAML. Default table.",
        rich_help_panel=_PANEL,
    ),
]


class Session:
    """The client, connected when it is first used, and how to print."""

    def __init__(
        self,
        endpoints: str | None,
        timeout: timedelta | None,
        form: Format,
        tls: Mapping[str, str | None] | None = None,
    ) -> None:
        """``tls``: the flags of ``settings.TLS_KEYS``."""
        self._tls = tls or {}
        self._endpoints = endpoints
        self._timeout = timeout
        self._stack = ExitStack()
        self._reach: Reach | None = None
        self.form = form

    @cached_property
    def client(self) -> Client:
        """The client. Raises Failure: the endpoints cannot be."""
        return self.connect()

    def connect(self, timeout: timedelta = DEFAULT_TIMEOUT) -> Client:
        """A client with another default deadline, unless the user gave one."""
        from raftsched_client import Client

        try:
            endpoints = [each.strip() for each in find_endpoints(self._endpoints).split(",") if each.strip()]
            patience = self._timeout or timeout
            tls = _tls(self._tls)
            reach = self._reach = Reach(endpoints, patience.total_seconds(), secure=tls is not None)

            def metadata() -> tuple[tuple[str, str], ...]:
                reach.attempt_begins()
                return _who()

            client = Client(
                endpoints,
                timeout=patience,
                metadata=metadata,
                on_failed_attempt=reach.attempt_failed,
                tls=tls,
            )
            self._stack.callback(reach.close)
            return self._stack.enter_context(client)
        except ValueError as error:
            raise usage(str(error)) from error

    def failure(self, error: RaftschedError, flags: Collection[str]) -> Failure:
        """The failure for an error of the client; fields that options of ``flags`` set are named as these."""
        # First: a client that is made only now follows attempts of its own.
        message, details = self._reach.explained(error) if self._reach else (str(error), [])
        failure = from_client(error, flags).with_details(suggestions(self.client, str(error)))
        if message == str(error):
            return failure.with_details(details)
        return Failure(message, failure.exit_code, details)

    def close(self) -> None:
        """Drop the connections."""
        self._stack.close()


def _tls(flags: Mapping[str, str | None]) -> Tls | None:
    """Raises Failure, ValueError: it cannot be used."""
    from raftsched_client import Tls

    files = find_tls(flags)
    return Tls(**files) if files else None


def _who() -> tuple[tuple[str, str], ...]:
    """Who asks, for the record of changes."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        return ()
    return (("raftsched-user", user.encode("ascii", "replace").decode()),)


def command(
    app: typer.Typer, name: str, *, panel: str | None = None
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a command that is given a session, and accepts the options of the session behind its own.

    A parameter whose type is a dataclass stands for the options in the fields of the dataclass.
    """

    def register(
        function: Callable[Concatenate[Session, P], None],
    ) -> Callable[Concatenate[Session, P], None]:
        own, groups = _expand(function)

        def run(ctx: typer.Context, **values: Any) -> None:
            root = ctx.find_root().params
            given = {key: values.pop(key) or root.get(key) for key in ("endpoints", "timeout", "output", *TLS_KEYS)}
            for parameter, group in groups.items():
                values[parameter] = group(**{f.name: values.pop(f.name) for f in dataclasses.fields(group)})
            form = given["output"] or Format.TABLE
            session = Session(given["endpoints"], given["timeout"], form, {key: given[key] for key in TLS_KEYS})
            try:
                with client_errors(lambda error: session.failure(error, _flags(ctx))):
                    function(session, **values)  # type: ignore[call-arg]  # typer gives what the signature below asks for
            finally:
                session.close()

        parameters = [_parameter("ctx", typer.Context, inspect.Parameter.empty), *own, *_COMMON]
        run.__name__ = function.__name__
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect reads first
        app.command(name, help=help_text(function), rich_help_panel=panel)(run)
        return function

    return register


def _flags(ctx: typer.Context) -> set[str]:
    """The options and arguments of a command; none where a file says what is to be done, in the words of the API."""
    if ctx.params.get("file"):
        return set()
    return {
        name.split()[0]
        for each in ctx.command.params
        for name in (each.opts if each.param_type_name == "option" else [(each.metavar or "").strip("[]-. ")])
        if name.strip()
    }


def help_text(function: Callable[..., object]) -> str:
    """Its docstring as help: each paragraph on one line, but one that begins with a backspace stays as it is."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(each if each.startswith("\b") else " ".join(each.split()) for each in paragraphs)


def _parameter(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_COMMON = (
    _parameter("output", OutputOption, None),
    _parameter("endpoints", EndpointsOption, None),
    _parameter("timeout", TimeoutOption, None),
    _parameter("tls_ca", TlsCaOption, None),
    _parameter("tls_cert", TlsCertOption, None),
    _parameter("tls_key", TlsKeyOption, None),
)


def _expand(function: Callable[..., None]) -> tuple[list[inspect.Parameter], dict[str, type]]:
    """Its parameters after the session, with dataclasses replaced by their fields; and which those were."""
    hints = get_type_hints(function, include_extras=True)
    own: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        hint = hints[parameter.name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            groups[parameter.name] = hint
            own.extend(_fields(hint))
        else:
            own.append(_parameter(parameter.name, hint, parameter.default))
    return own, groups


def _fields(group: type) -> Iterable[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [_parameter(field.name, hints[field.name], field.default) for field in dataclasses.fields(group)]


def complete_task(incomplete: str) -> list[str]:
    """Names of tasks, for shell completion."""
    from raftsched_client import Client, RaftschedError

    try:
        with Client(find_endpoints(None), timeout=_COMPLETION_TIMEOUT_S, tls=_tls({})) as client:
            names = client.list_tasks(name_prefix=incomplete, page_size=100, stale=True)
            return [task.name for _, task in zip(range(100), names, strict=False)]
    except (RaftschedError, ValueError, Failure):
        # A shell that waits for suggestions has no place for an error.
        return []
