"""What an authority of ours issues, and what is read from a certificate."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID

from raftsched.net.certificate_files import CertificateFiles, FilesProblem
from raftsched.net.certificates import (
    BadCertificate,
    Issued,
    check_identity,
    check_usable,
    facts,
    issue,
    new_authority,
    split,
)
from raftsched.net.identity import NoIdentity, PeerIdentity, PeerRole, identity_among, is_of, parse_identity

NOW = datetime(2030, 1, 1, tzinfo=UTC)
N1 = PeerIdentity("prod", PeerRole.NODE, "n1")
E1 = PeerIdentity("prod", PeerRole.EXECUTOR, "e1")


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    issuer = x509.load_pem_x509_certificate(authority)
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(issuer)
    except (ValueError, InvalidSignature):
        return False
    return True


@pytest.fixture(scope="module")
def authority() -> Issued:
    return new_authority("prod", NOW)


@pytest.mark.parametrize(
    "uri",
    [
        "raftsched://prod/node",
        "raftsched://prod/node/",
        "raftsched://prod/node/n1/x",
        "raftsched://prod/leader/n1",
        "raftsched:///node/n1",
        "raftsched://prod/node/n1\n",
        "raftsched://prod/node/-n1",
        "spiffe://prod/node/n1",
    ],
)
def test_another_form_is_no_identity(uri: str) -> None:
    with pytest.raises(NoIdentity):
        parse_identity(uri)


def test_an_identity_is_read_as_it_is_written() -> None:
    assert str(N1) == "raftsched://prod/node/n1"
    assert parse_identity(str(N1)) == N1
    assert identity_among(["spiffe://else/where", str(N1)]) == N1


def test_a_certificate_of_several_identities_is_of_none() -> None:
    with pytest.raises(NoIdentity, match="2 names"):
        identity_among([str(N1), str(E1)])


@pytest.mark.parametrize(
    ("claimed", "is_its"),
    [("e1-0a1b2c3d", True), ("e1", False), ("e1-", False), ("e2-0a1b2c3d", False), ("e1-b-0a1b2c3d", False)],
)
def test_an_executor_may_use_its_own_name_only(claimed: str, is_its: bool) -> None:
    assert is_of(claimed, E1) is is_its


def test_a_node_may_serve_and_the_others_may_not(authority: Issued) -> None:
    for identity, serves in ((N1, True), (E1, False)):
        made = issue(authority, identity, ["10.0.0.1", "n1.example.org"] if serves else [], NOW)
        uses = x509.load_pem_x509_certificate(made.certificate).extensions.get_extension_for_class(
            x509.ExtendedKeyUsage
        )
        assert (ExtendedKeyUsageOID.SERVER_AUTH in uses.value) is serves
        assert ExtendedKeyUsageOID.CLIENT_AUTH in uses.value
        assert check_identity(made.certificate) == identity
        check_usable(authority.certificate, made.certificate, made.key)
    assert facts(made.certificate).hosts == ()


def test_a_certificate_says_whom_it_is_for_and_until_when(authority: Issued) -> None:
    made = facts(issue(authority, N1, ["n1.example.org", "10.0.0.1", "::1"], NOW, days=90).certificate)
    assert (made.identity, made.cluster, made.is_authority) == (N1, "prod", False)
    assert made.hosts == ("n1.example.org", "10.0.0.1", "::1")
    assert made.not_after == NOW + timedelta(days=90)
    assert made.not_before < NOW


def test_a_certificate_is_good_no_longer_than_its_authority() -> None:
    short = new_authority("prod", NOW, days=10)
    assert facts(issue(short, N1, [], NOW, days=365).certificate).not_after == NOW + timedelta(days=10)
    with pytest.raises(BadCertificate, match="expired"):
        issue(short, N1, [], NOW + timedelta(days=11))


def test_a_key_of_another_is_refused(authority: Issued) -> None:
    one, other = (issue(authority, N1, [], NOW) for _ in range(2))
    with pytest.raises(BadCertificate, match="not that of the certificate"):
        check_usable(authority.certificate, one.certificate, other.key)
    with pytest.raises(BadCertificate, match="authority is not that"):
        issue(Issued(authority.certificate, one.key), N1, [], NOW)


@pytest.mark.parametrize("text", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused_in_words(text: bytes) -> None:
    for read in (facts, check_identity, split):
        with pytest.raises(BadCertificate):
            read(text)


def test_only_its_own_authority_has_issued_it(authority: Issued) -> None:
    made = issue(authority, N1, [], NOW).certificate
    assert is_issued_by(made, authority.certificate)
    assert not is_issued_by(made, new_authority("prod", NOW).certificate)


def test_keys_are_for_their_owner_alone_and_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "certs")
    files.found("prod", NOW, 10)
    certificate, key = files.add(N1, ["10.0.0.1"], NOW, 5)
    for path in (key, files.authority_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700
    before = certificate.read_bytes(), key.read_bytes()
    with pytest.raises(FilesProblem, match="rotate"):
        files.add(N1, [], NOW, 5)
    with pytest.raises(FilesProblem, match="has an authority"):
        files.found("prod", NOW, 10)
    assert (certificate.read_bytes(), key.read_bytes()) == before


def test_the_key_of_the_authority_can_be_kept_apart(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "certs", tmp_path / "safe.key")
    files.found("prod", NOW, 10)
    assert not (tmp_path / "certs" / "ca.key").exists()
    files.add(N1, [], NOW, 5)
    with pytest.raises(FilesProblem, match=r"ca\.key"):
        CertificateFiles(tmp_path / "certs").add(E1, [], NOW, 5)


def test_a_new_certificate_has_the_same_names_and_another_key(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path)
    files.found("prod", NOW, 100)
    certificate, key = files.add(N1, ["10.0.0.1", "n1.example.org"], NOW, 5)
    old = facts(certificate.read_bytes()), key.read_bytes()
    assert files.renew(certificate, NOW + timedelta(days=1), 5) == N1
    new = facts(certificate.read_bytes())
    assert (new.identity, new.hosts) == (old[0].identity, old[0].hosts)
    assert new.serial != old[0].serial
    assert new.not_after > old[0].not_after
    check_usable(files.authority.read_bytes(), certificate.read_bytes(), key.read_bytes())


def test_another_authority_leaves_the_one_before_trusted_until_it_is_dropped(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path)
    files.found("prod", NOW, 100)
    certificate, _ = files.add(N1, [], NOW, 5)
    files.renew_authority(NOW, 100)
    new, old = split(files.authority.read_bytes())
    assert is_issued_by(certificate.read_bytes(), old)
    files.renew(certificate, NOW, 5)
    assert is_issued_by(certificate.read_bytes(), new)
    assert files.drop_old_authorities() == 1
    assert split(files.authority.read_bytes()) == [new]
    assert files.cluster == "prod"
