"""The files of a process are read again when they change, and used when they fit together."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from raftsched.net.certificate_files import CertificateFiles
from raftsched.net.identity import PeerIdentity, PeerRole
from raftsched.net.tls import Tls, TlsFiles, TlsProblem

NOW = datetime(2030, 1, 1, tzinfo=UTC)
N1 = PeerIdentity("prod", PeerRole.NODE, "n1")


@pytest.fixture
def authority(tmp_path: Path) -> CertificateFiles:
    files = CertificateFiles(tmp_path)
    files.found("prod", NOW, 100)
    files.add(N1, ["127.0.0.1"], NOW, 10)
    return files


def files_of(authority: CertificateFiles) -> TlsFiles:
    certificate, key = authority.paths(N1)
    return TlsFiles(authority.authority, certificate, key)


def test_new_files_are_taken_up(authority: CertificateFiles) -> None:
    tls = Tls(files_of(authority))
    before, end = tls.generation, tls.not_after
    assert tls.generation == before
    authority.renew(authority.paths(N1)[0], NOW, 20)
    assert tls.not_after > end
    assert tls.generation != before


def test_half_a_change_is_not_taken_up(authority: CertificateFiles, tmp_path: Path) -> None:
    tls = Tls(files_of(authority))
    before, end = tls.generation, tls.not_after
    certificate, _ = authority.paths(N1)
    old = certificate.read_bytes()
    authority.renew(certificate, NOW, 20)
    new = certificate.read_bytes()
    certificate.write_bytes(old)
    assert (tls.generation, tls.not_after) == (before, end)
    certificate.write_bytes(new)
    assert tls.not_after > end


def test_files_that_vanish_or_are_of_another_are_not_taken_up(authority: CertificateFiles) -> None:
    tls = Tls(files_of(authority))
    before = tls.generation
    certificate, key = authority.paths(N1)
    saved = certificate.read_bytes(), key.read_bytes()
    certificate.unlink()
    assert tls.generation == before
    other, other_key = authority.add(PeerIdentity("prod", PeerRole.NODE, "n2"), [], NOW, 10)
    key.write_bytes(other_key.read_bytes())
    certificate.write_bytes(other.read_bytes())
    assert (tls.generation, tls.identity) == (before, N1)
    certificate.write_bytes(saved[0])
    key.write_bytes(saved[1])
    assert tls.generation != before


@pytest.mark.parametrize(("name", "content"), [("cert", b""), ("key", b"no"), ("ca", b"no"), ("cert", None)])
def test_what_cannot_be_used_is_told_at_the_start(
    authority: CertificateFiles, name: str, content: bytes | None
) -> None:
    files = files_of(authority)
    path: Path = getattr(files, name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TlsProblem, match=r"\.(crt|key)"):
        Tls(files)
