"""The command ``raftsched``. Anything heavy is imported by the command that needs it, so that ``--help`` is quick."""

import os
import sys
from typing import Annotated

import typer

from raftsched.cli.commands import (
    apply,
    calendar,
    certs,
    cluster,
    crontab,
    execution,
    explain,
    group,
    ledger,
    process,
    repair,
    simulate,
    status,
    task,
    verify,
)
from raftsched.cli.commands import logs as history
from raftsched.cli.failures import ExitCode, Failure, report, usage
from raftsched.cli.session import (
    EndpointsOption,
    OutputOption,
    TimeoutOption,
    TlsCaOption,
    TlsCertOption,
    TlsKeyOption,
    command,
    help_text,
)
from raftsched.cli.show import streams

# gRPC's library reports each connection that ends, in lines that are not ours. It reads this once, when loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

_TASKS = "Tasks"
_CLUSTER = "Cluster"
_PROCESSES = "Processes"

app = typer.Typer(
    name="raftsched",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"raftsched {version('raftsched')}")
        raise typer.Exit


def root(
    output: OutputOption = None,
    endpoints: EndpointsOption = None,
    timeout: TimeoutOption = None,
    tls_ca: TlsCaOption = None,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """A distributed task scheduler: cron for a cluster.

    Connection and output options may stand before or behind the command.

    Exit codes: 0 done, 1 failed, 2 bad usage or argument, 3 not found, 4 conflict or already there, 5 no node or no
    quorum, 6 no answer in time or may have been applied, 7 a limit was reached, 130 interrupted.

    \b
    Examples:
      raftsched status
      raftsched task create beat --every 10s -- echo hello
      raftsched task list
    """


app.callback(help=help_text(root))(root)
app.add_typer(task.app, name="task", rich_help_panel=_TASKS)
app.add_typer(execution.app, name="execution", rich_help_panel=_TASKS)
app.add_typer(group.app, name="group", rich_help_panel=_TASKS)
app.add_typer(calendar.app, name="calendar", rich_help_panel=_TASKS)
app.add_typer(history.app, name="logs", rich_help_panel=_TASKS)
command(app, "ledger", panel=_TASKS)(ledger.ledger)
command(app, "explain", panel=_TASKS)(explain.explain)
command(app, "simulate", panel=_TASKS)(simulate.simulate)
command(app, "verify", panel=_TASKS)(verify.verify)
command(app, "apply", panel=_TASKS)(apply.apply)
command(app, "diff", panel=_TASKS)(apply.diff)
command(app, "export", panel=_TASKS)(apply.export)
app.add_typer(crontab.app, name="import", rich_help_panel=_TASKS)
command(app, "status", panel=_CLUSTER)(status.status)
app.add_typer(repair.app, name="repair", rich_help_panel=_CLUSTER)
app.add_typer(cluster.app, name="cluster", rich_help_panel=_CLUSTER)
app.add_typer(certs.app, name="certs", rich_help_panel=_PROCESSES)
app.command("node", help=help_text(process.node), rich_help_panel=_PROCESSES)(process.node)
app.command("executor", help=help_text(process.executor), rich_help_panel=_PROCESSES)(process.executor)


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        result = app(arguments, prog_name="raftsched", standalone_mode=False)
    except Failure as failure:
        return report(failure)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        return report(Failure(error.format_message().rstrip(".") + hint, ExitCode(error.exit_code)))
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except UnicodeEncodeError as error:
        if not any("\udc80" <= each <= "\udcff" for each in error.object):
            raise
        return report(usage("an argument, or a variable of the environment, is not UTF-8; nothing was done"))
    return result if isinstance(result, int) else ExitCode.OK


def main() -> None:
    """The console script."""
    streams.prepare(output_matters=not {"node", "executor"} & set(sys.argv[1:2]))
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except streams.ReaderGone:
        code = ExitCode.FAILURE
        streams.end_by_broken_pipe()
    except streams.OutputFailed as error:
        code = report(Failure(f"cannot write to standard output: {error}", ExitCode.FAILURE))
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
