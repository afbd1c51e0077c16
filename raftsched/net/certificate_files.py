"""The directory of an authority: its certificates and keys as files, written so that no reader sees half of one."""

import os
from datetime import datetime
from pathlib import Path

from raftsched.net.certificates import Issued, check_identity, facts, issue, new_authority, split
from raftsched.net.identity import PeerIdentity

AUTHORITY = "ca.crt"
AUTHORITY_KEY = "ca.key"


class FilesProblem(Exception):
    """A file is there already, is missing or cannot be used; the message names it. Nothing was changed."""


class CertificateFiles:
    """``ca.crt``, ``ca.key``; of each identity ``ROLE-ID.crt`` and ``ROLE-ID.key``. Keys have mode 0600."""

    def __init__(self, directory: Path, authority_key: Path | None = None) -> None:
        """``authority_key``: where the key of the authority is, when it is kept apart."""
        self.directory = directory
        self.authority = directory / AUTHORITY
        self.authority_key = authority_key or directory / AUTHORITY_KEY

    def paths(self, identity: PeerIdentity) -> tuple[Path, Path]:
        """Of the certificate and of the key."""
        stem = f"{identity.role.value}-{identity.id}"
        return self.directory / f"{stem}.crt", self.directory / f"{stem}.key"

    def found(self, cluster: str, now: datetime, days: int) -> None:
        """Make the authority. Raises FilesProblem: there is one."""
        for path in (self.authority, self.authority_key):
            if path.exists():
                raise FilesProblem(f"{path} is there already: this directory has an authority. Nothing was changed")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(new_authority(cluster, now, days), self.authority, self.authority_key)

    @property
    def cluster(self) -> str:
        """Whose authority it is. Raises FilesProblem."""
        name = facts(self._read(self.authority)).cluster
        if not name:
            raise FilesProblem(f"{self.authority} was not made by raftsched certs init: it names no cluster")
        return name

    def add(self, identity: PeerIdentity, hosts: list[str], now: datetime, days: int) -> tuple[Path, Path]:
        """Issue a certificate for who has none here; its two files. Raises FilesProblem, BadCertificate."""
        certificate, key = self.paths(identity)
        for path in (certificate, key):
            if path.exists():
                raise FilesProblem(f"{path} is there already; raftsched certs rotate makes a new one of the same names")
        self._write(issue(self._signer(), identity, hosts, now, days), certificate, key)
        return certificate, key

    def renew(self, certificate: Path, now: datetime, days: int) -> PeerIdentity:
        """Issue another certificate, with a new key, for the same identity and hosts.

        Raises FilesProblem, BadCertificate.
        """
        old = self._read(certificate)
        identity = check_identity(old)
        issued = issue(self._signer(), identity, list(facts(old).hosts), now, days)
        self._write(issued, certificate, certificate.with_suffix(".key"))
        return identity

    def renew_authority(self, now: datetime, days: int) -> None:
        """Make another authority, which issues from now on. Those before are trusted until they are dropped."""
        cluster, trusted = self.cluster, self._read(self.authority)
        made = new_authority(cluster, now, days)
        self._write(Issued(made.certificate + trusted, made.key), self.authority, self.authority_key)

    def drop_old_authorities(self) -> int:
        """Trust the newest authority alone; how many were dropped."""
        newest, *old = split(self._read(self.authority))
        write_whole(self.authority, newest, 0o644)
        return len(old)

    def issued(self) -> list[Path]:
        """The certificates of all identities here."""
        return sorted(path for path in self.directory.glob("*.crt") if path != self.authority)

    def _signer(self) -> Issued:
        return Issued(self._read(self.authority), self._read(self.authority_key))

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise FilesProblem(f"cannot read {path}: {error.strerror}; nothing was changed") from None

    def _write(self, issued: Issued, certificate: Path, key: Path) -> None:
        # The key first. A process that looks between the two finds that they do not match, and keeps what it had.
        write_whole(key, issued.key, 0o600)
        write_whole(certificate, issued.certificate, 0o644)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place at once. Raises FilesProblem."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            # Whatever the umask takes away from it or leaves.
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise FilesProblem(f"cannot write {path}: {error.strerror}") from None
