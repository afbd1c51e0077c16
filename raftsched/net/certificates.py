"""Certificates: a small authority, what it issues, what a certificate says. Pure but for the keys that are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftsched.net.identity import NoIdentity, PeerIdentity, PeerRole, identity_among

AUTHORITY_DAYS = 3_650
CERTIFICATE_DAYS = 365
_CLOCKS = timedelta(minutes=5)
"""A certificate is good this long before it was made: clocks differ."""
_LONGEST_NAME = 64
"""Of a common name (RFC 5280, ub-common-name)."""


class BadCertificate(ValueError):
    """A certificate or key cannot be read, or the two do not belong together; the message says why."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says."""

    identity: PeerIdentity | None
    """None: of an authority, or its names say no identity of ours."""
    is_authority: bool
    cluster: str
    """Of an authority that was made here, or of the identity; "" for others."""
    hosts: tuple[str, ...]
    """The DNS names and addresses that it serves under."""
    not_before: datetime
    not_after: datetime
    serial: int
    issuer: str


def new_authority(cluster: str, now: datetime, days: int = AUTHORITY_DAYS) -> Issued:
    """A certificate authority for one cluster. ``now`` has a time zone."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
            # Two authorities of one cluster are told apart by it while both are trusted.
            x509.NameAttribute(NameOID.COMMON_NAME, f"raftsched authority {serial:x}"[:_LONGEST_NAME]),
        ]
    )
    builder = (
        _builder(subject, subject, key.public_key(), serial, now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _issued(builder.sign(key, hashes.SHA256()), key)


def issue(
    authority: Issued, identity: PeerIdentity, hosts: Sequence[str], now: datetime, days: int = CERTIFICATE_DAYS
) -> Issued:
    """A certificate for one identity, good for at most as long as the authority's.

    ``hosts``: names and addresses under which a node is reached; only nodes serve. Raises BadCertificate: the key of
    the authority is not that of its certificate, or it has expired.
    """
    signer = _load(authority.certificate)
    signing_key = _signing_key(authority.key)
    _check_pair(signer, signing_key, "the key of the authority is not that of its certificate")
    if signer.not_valid_after_utc <= now:
        raise BadCertificate(f"the authority has expired at {signer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{identity.role}/{identity.id}"[:_LONGEST_NAME])])
    serves = identity.role is PeerRole.NODE
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if serves else [])]
    names = [x509.UniformResourceIdentifier(str(identity)), *map(_general_name, hosts)]
    serial = x509.random_serial_number()
    until = min(now + timedelta(days=days), signer.not_valid_after_utc)
    builder = (
        _builder(subject, signer.subject, key.public_key(), serial, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_identifier(signer), critical=False)
    )
    return _issued(builder.sign(signing_key, hashes.SHA256()), key)


def facts(certificate: bytes) -> CertificateFacts:
    """What the first certificate of a PEM text says. Raises BadCertificate."""
    loaded = _load(certificate)
    names = _names(loaded)
    try:
        identity = identity_among(names.get_values_for_type(x509.UniformResourceIdentifier) if names else ())
    except NoIdentity:
        identity = None
    is_authority = _is_authority(loaded)
    organisations = loaded.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME) if is_authority else []
    hosts = (
        (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))
        if names
        else ()
    )
    return CertificateFacts(
        identity=identity,
        is_authority=is_authority,
        cluster=identity.cluster if identity else str(organisations[0].value) if organisations else "",
        hosts=hosts,
        not_before=loaded.not_valid_before_utc,
        not_after=loaded.not_valid_after_utc,
        serial=loaded.serial_number,
        issuer=loaded.issuer.rfc4514_string(),
    )


def check_identity(certificate: bytes) -> PeerIdentity:
    """The identity of the first certificate of a PEM text. Raises BadCertificate, which says what its names lack."""
    names = _names(_load(certificate))
    try:
        return identity_among(names.get_values_for_type(x509.UniformResourceIdentifier) if names else ())
    except NoIdentity as error:
        raise BadCertificate(str(error)) from None


def check_usable(authorities: bytes, certificate: bytes, key: bytes) -> None:
    """Raises BadCertificate: one of the PEM texts cannot be read, or the key is not that of the certificate."""
    split(authorities)
    _check_pair(_load(certificate), _load_key(key), "the key is not that of the certificate")


def split(certificates: bytes) -> list[bytes]:
    """The certificates of a PEM text, each by itself. Raises BadCertificate: there is none."""
    try:
        loaded = x509.load_pem_x509_certificates(certificates)
    except ValueError as error:
        raise BadCertificate(f"it holds no certificates in PEM: {error}") from None
    return [each.public_bytes(serialization.Encoding.PEM) for each in loaded]


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    until: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(until)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(_ec_key(signer))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _ec_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadCertificate(
            "an authority that is used here has an elliptic-curve key; issue with its own tools instead"
        )
    return key


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise BadCertificate(
            f"{host!a} is no DNS name or address; write names of other alphabets in their xn-- form"
        ) from None


def _load(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate)
    except ValueError as error:
        raise BadCertificate(f"it holds no certificate in PEM: {error}") from None


def _load_key(key: bytes) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise BadCertificate(f"the key cannot be read as PEM without a password: {error}") from None


def _signing_key(key: bytes) -> ec.EllipticCurvePrivateKey:
    loaded = _load_key(key)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise BadCertificate("the key of the authority is not of an elliptic curve: issue with its own tools instead")
    return loaded


def _check_pair(certificate: x509.Certificate, key: PrivateKeyTypes, problem: str) -> None:
    form = serialization.Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise BadCertificate(problem)


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except ValueError as error:
        raise BadCertificate(f"its extensions cannot be read: {error}") from None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
