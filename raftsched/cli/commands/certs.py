"""``raftsched certs``: a certificate authority for one cluster, and the certificates of its processes and users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raftsched.cli.failures import Failure, usage
from raftsched.cli.session import help_text
from raftsched.cli.show.tables import TextTable, show
from raftsched.cli.times import now

if TYPE_CHECKING:
    from raftsched.net.certificate_files import CertificateFiles
    from raftsched.net.identity import PeerIdentity

app = typer.Typer(no_args_is_help=True, help="Make the certificates of a cluster, for TLS. Talks to no node.")

WARN_BELOW = timedelta(days=14)
DirOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Where the authority and the certificates are. Default certs.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-key", metavar="FILE", help="The key of the authority, kept apart. Default ca.key in the directory."
    ),
]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=7_300, help="How long it is good.")]
_DIR = Path("certs")
_AUTHORITY_DAYS = 3_650
_DAYS = 365


def init(
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="ID", help="The setting cluster_id of the nodes.")
    ] = "raftsched",
    directory: DirOption = _DIR,
    ca_key: KeyOption = None,
    days: DaysOption = _AUTHORITY_DAYS,
) -> None:
    """Make the certificate authority of a cluster: ca.crt, which every process needs, and ca.key, which none needs.

    Who has ca.key can make a certificate of any node: keep it away from the nodes.

    \b
    Examples:
      raftsched certs init
      raftsched certs init --cluster prod --dir prod-certs --ca-key prod-ca.key
    """
    files = _files(directory, ca_key)
    with _problems():
        from raftsched.net.identity import PeerIdentity, PeerRole, parse_identity

        parse_identity(str(PeerIdentity(cluster, PeerRole.CLIENT, "any")))
        files.found(cluster, _now(), days)
    print(f"made the authority of cluster {cluster}: {files.authority}, and its key {files.authority_key}")


def node(
    node_id: Annotated[str, typer.Argument(metavar="ID", help="Its id among the peers.")],
    host: Annotated[
        list[str],
        typer.Option("--host", metavar="HOST", help="A DNS name or address at which it is reached. Repeatable."),
    ],
    directory: DirOption = _DIR,
    ca_key: KeyOption = None,
    days: DaysOption = _DAYS,
) -> None:
    """Make the certificate of a node. Give each host under which others or users reach it, as in the setting peers.

    \b
    Examples:
      raftsched certs node n1 --host 10.0.0.1 --host n1.example.org
    """
    _add("node", node_id, host, _files(directory, ca_key), days)


def executor(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its setting name.")],
    directory: DirOption = _DIR,
    ca_key: KeyOption = None,
    days: DaysOption = _DAYS,
) -> None:
    """Make the certificate of an executor process.

    \b
    Examples:
      raftsched certs executor e1
    """
    _add("executor", name, [], _files(directory, ca_key), days)


def client(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who uses it: a person or a program.")],
    directory: DirOption = _DIR,
    ca_key: KeyOption = None,
    days: DaysOption = _DAYS,
) -> None:
    """Make the certificate of a user: of the command line, the client library, the REST API or a browser.

    \b
    Examples:
      raftsched certs client ops
    """
    _add("client", name, [], _files(directory, ca_key), days)


def rotate(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROLE-ID]...", help="Which ones, as their files are called: node-n1. Default: all."),
    ] = None,
    directory: DirOption = _DIR,
    ca_key: KeyOption = None,
    days: DaysOption = _DAYS,
    authority: Annotated[
        bool, typer.Option("--authority", help="Make another authority instead; those before stay trusted.")
    ] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Trust the newest authority alone instead.")] = False,
) -> None:
    """Make new certificates and keys for the same names. Running processes take up changed files by themselves.

    To replace the authority: rotate it with --authority and bring ca.crt to every machine; rotate the certificates and
    bring them; then --drop-old, and bring ca.crt again.

    \b
    Examples:
      raftsched certs rotate
      raftsched certs rotate --authority
      raftsched certs rotate --drop-old
    """
    if (authority and drop_old) or (names and (authority or drop_old)):
        raise usage("certificates, --authority and --drop-old are steps of their own: give one of them")
    files = _files(directory, ca_key)
    with _problems():
        if authority:
            files.renew_authority(_now(), max(days, _AUTHORITY_DAYS))
            print(f"made another authority; {files.authority} trusts those before it too. Bring it to every machine")
        elif drop_old:
            print(f"authorities dropped: {files.drop_old_authorities()}. Bring {files.authority} to every machine")
        else:
            chosen = [directory / f"{name}.crt" for name in names] if names else files.issued()
            for path in chosen:
                print(f"made a new certificate of {files.renew(path, _now(), days)}: {path}")


def show_certificates(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Certificates. Default: those of the directory.")
    ] = None,
    directory: DirOption = _DIR,
) -> None:
    """Show whose certificates these are, and until when they are good.

    \b
    Examples:
      raftsched certs show
    """
    from raftsched.net.certificates import facts, split

    files = _files(directory, None)
    rows = []
    with _problems():
        for path in paths or [files.authority, *files.issued()]:
            for each in split(_read(path)):
                found = facts(each)
                whom = str(found.identity) if found.identity else f"authority of {found.cluster or found.issuer}"
                left = found.not_after - _now()
                good = "EXPIRED" if left <= timedelta(0) else "soon" if left < WARN_BELOW else "yes"
                rows.append((str(path), whom, ", ".join(found.hosts), f"{found.not_after:%Y-%m-%dT%H:%M:%SZ}", good))
    show(TextTable(("FILE", "IDENTITY", "HOSTS~", "UNTIL", "GOOD"), rows))


def _add(role: str, id_: str, hosts: list[str], files: CertificateFiles, days: int) -> None:
    with _problems():
        identity = _identity(files, role, id_)
        certificate, key = files.add(identity, hosts, _now(), days)
    print(f"made {identity}: {certificate} and {key}")


def _identity(files: CertificateFiles, role: str, id_: str) -> PeerIdentity:
    from raftsched.net.identity import PeerIdentity, PeerRole, parse_identity

    return parse_identity(str(PeerIdentity(files.cluster, PeerRole(role), id_)))


def _files(directory: Path, ca_key: Path | None) -> CertificateFiles:
    from raftsched.net.certificate_files import CertificateFiles

    return CertificateFiles(directory, ca_key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise usage(f"cannot read {path}: {error.strerror}") from None


@contextmanager
def _problems() -> Iterator[None]:
    from raftsched.net.certificate_files import FilesProblem
    from raftsched.net.certificates import BadCertificate
    from raftsched.net.identity import NoIdentity

    try:
        yield
    except FilesProblem as error:
        raise Failure(str(error)) from error
    except (BadCertificate, NoIdentity) as error:
        raise usage(str(error)) from error


def _now() -> datetime:
    return now().astimezone(UTC)


for _name, _function in (
    ("init", init),
    ("node", node),
    ("executor", executor),
    ("client", client),
    ("rotate", rotate),
    ("show", show_certificates),
):
    app.command(_name, help=help_text(_function))(_function)
