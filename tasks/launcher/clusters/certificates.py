"""Create and check the certificates of a cluster: a certificate authority, and a certificate per role that it signs.

Dask accepts every certificate that its own authority has signed, for any host name. So whoever has one of the keys can
use the cluster, and nobody else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasks.engine.contract.errors import RunError

Role = Literal["scheduler", "worker", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "worker", "client")
CA_FILE, CA_KEY_FILE = "ca.pem", "ca.key"
_CLOCK_SKEW = timedelta(hours=1)  # clocks of machines differ
_NEW = "create new ones: headrace cluster certificates DIR"


def get_files(folder: Path, role: Role) -> dict[str, Path]:
    """Return the files of a role: ``cert`` and ``key``."""
    return {"cert": folder / f"{role}.pem", "key": folder / f"{role}.key"}


def create_certificates(folder: Path, days: int) -> list[Path]:
    """Create all files in ``folder``, readable by this user only; return their paths.

    Raises RunError if one of them exists already: processes that use it would not accept the new ones.
    """
    pairs = [get_files(folder, role).values() for role in ROLES]
    paths = [folder / CA_FILE, folder / CA_KEY_FILE, *(path for pair in pairs for path in pair)]
    if existing := [path for path in paths if os.path.lexists(path)]:
        raise RunError(f"{existing[0]} exists already; name another folder, or move the old certificates away")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _sign_authority(key, days)
    _write(folder / CA_FILE, _encode(authority))
    _write(folder / CA_KEY_FILE, _encode_key(key))
    for role in ROLES:
        own = ec.generate_private_key(ec.SECP256R1())
        _write(folder / f"{role}.pem", _encode(_sign(role, own, authority, key, days)))
        _write(folder / f"{role}.key", _encode_key(own))
    return paths


def _sign_authority(key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
    name = _make_name("certificate authority")
    return (
        _begin(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_make_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _sign(
    role: Role,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.Certificate:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([] if role == "client" else [ExtendedKeyUsageOID.SERVER_AUTH])]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _begin(_make_name(role), authority.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_make_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"headrace-{role}")]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _CLOCK_SKEW)
        .not_valid_after(end)
    )


def _make_name(role: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Headrace {role}")])


def _make_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _encode(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _encode_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Write a new file that only this user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def check_certificates(folder: Path, roles: Sequence[Role] = ROLES) -> None:
    """Raise RunError if a certificate is missing, damaged, expired, or not signed by the authority in ``folder``."""
    authority = _load(folder / CA_FILE)
    _check_validity(folder / CA_FILE, authority)
    for role in roles:
        files = get_files(folder, role)
        certificate = _load(files["cert"])
        _check_validity(files["cert"], certificate)
        try:
            certificate.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            raise RunError(f"{files['cert']} is not signed by {folder / CA_FILE}; {_NEW}") from None
        _check_key(files["key"], certificate)


def _load(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise RunError(f"the certificate {path} cannot be read: {error.strerror}; {_NEW}") from None
    except ValueError:
        raise RunError(f"{path} is no certificate in PEM format; {_NEW}") from None


def _check_validity(path: Path, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        raise RunError(f"the certificate {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; {_NEW}")
    if now < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc
        raise RunError(f"the certificate {path} is valid from {start:%Y-%m-%d %H:%M} UTC on; set the clock")


def _check_key(path: Path, certificate: x509.Certificate) -> None:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise RunError(f"the key {path} cannot be read: {error.strerror}; {_NEW}") from None
    except (ValueError, TypeError):
        raise RunError(f"{path} is no key in PEM format without a password; {_NEW}") from None
    if key.public_key() != certificate.public_key():
        raise RunError(f"the key {path} does not belong to its certificate; {_NEW}")
