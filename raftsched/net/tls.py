"""TLS for what this process dials and listens on: its files, read again when they change.

New connections use the new files; those that are there go on.
"""

import os
import ssl
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import structlog

from raftsched.net.certificates import BadCertificate, check_identity, check_usable, facts
from raftsched.net.identity import PeerIdentity

_log = structlog.get_logger(__name__)
_Stamp = tuple[tuple[int, int, int], ...]


class TlsProblem(Exception):
    """The files cannot be used; the message names them and says why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """What a process shows, and whom it believes. All in PEM."""

    ca: Path
    """The authorities that are trusted, one or several."""
    cert: Path
    """The certificate of this process, and those between it and the authority."""
    key: Path
    """Without a password."""


@dataclass(frozen=True, slots=True)
class _Material:
    """What the files held at one moment."""

    stamp: _Stamp
    ca: bytes
    cert: bytes
    key: bytes


class Tls:
    """The files of one process. May be used by several threads."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsProblem."""
        self._files = files
        self._lock = threading.Lock()
        self._refused: _Stamp = ()
        try:
            self._material = _read(files)
            self.identity: PeerIdentity = check_identity(self._material.cert)
            """Of this process."""
        except OSError as error:
            raise TlsProblem(f"cannot read {error.filename}: {error.strerror}") from None
        except BadCertificate as error:
            raise TlsProblem(f"the certificate {files.cert} cannot be used: {error}") from None

    @property
    def not_after(self) -> datetime:
        """Until when the certificate of this process is good."""
        return facts(self._current().cert).not_after

    @property
    def generation(self) -> object:
        """Another one after the files have changed."""
        return self._current().stamp

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a channel that is opened now."""
        material = self._current()
        return grpc.ssl_channel_credentials(material.ca, material.key, material.cert)

    def server_credentials(self) -> grpc.ServerCredentials:
        """For a port: each new connection gets the files as they are then. Who connects must show a certificate."""
        shown: list[_Material] = [self._current()]

        def changed() -> grpc.ServerCertificateConfiguration:
            material = self._current()
            if material is shown[0]:
                return None  # type: ignore[return-value]  # the library takes it for: as before
            shown[0] = material
            return _configuration(material)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(shown[0]), changed, require_client_authentication=True
        )

    def http_context(self, *, client_auth: bool) -> ssl.SSLContext:
        """For an HTTP port; each new connection gets the files as they are then."""
        context = _server_context(self._files, client_auth=client_auth)
        newest = [(self.generation, context)]

        def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            generation, chosen = newest[0]
            if self.generation != generation:
                try:
                    chosen = _server_context(self._files, client_auth=client_auth)
                    newest[0] = (self.generation, chosen)
                except (OSError, ssl.SSLError) as error:
                    # They change at this moment: the next connection looks again.
                    _log.warning("the changed certificate is not used for HTTP yet", reason=str(error))
            connection.context = chosen

        # The library calls it at each handshake, whether or not the client names a host.
        context.sni_callback = choose
        return context

    def _current(self) -> _Material:
        """What the files hold, or what they held when they last could be used."""
        with self._lock:
            stamp = _stamp(self._files)
            if stamp in (self._material.stamp, self._refused):
                return self._material
            try:
                material = _read(self._files)
                if check_identity(material.cert) != self.identity:
                    raise BadCertificate("it is of another identity, which takes a restart")
            except (OSError, BadCertificate) as error:
                # Between two files of a change: the last of them brings another stamp.
                self._refused = stamp
                _log.warning("the changed certificate is not used yet", file=str(self._files.cert), reason=str(error))
            else:
                self._material = material
                _log.info("took up the changed certificate", file=str(self._files.cert))
            return self._material


def _read(files: TlsFiles) -> _Material:
    stamp = _stamp(files)
    material = _Material(stamp, files.ca.read_bytes(), files.cert.read_bytes(), files.key.read_bytes())
    check_usable(material.ca, material.cert, material.key)
    return material


def _stamp(files: TlsFiles) -> _Stamp:
    """What changes with the files; () of a file that is not there."""
    found = []
    for path in (files.ca, files.cert, files.key):
        try:
            seen = os.stat(path)
        except OSError:
            found.append((0, 0, 0))
        else:
            found.append((seen.st_mtime_ns, seen.st_ino, seen.st_size))
    return tuple(found)


def _configuration(material: _Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(material.key, material.cert)], root_certificates=material.ca)


def _server_context(files: TlsFiles, *, client_auth: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.cert, files.key)
    if client_auth:
        context.load_verify_locations(files.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
