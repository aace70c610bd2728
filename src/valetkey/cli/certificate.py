"""Self-signed certificate of ``valetkey serve --tls-self-signed``, for trying out TLS."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from valetkey.storage.engine.files import write_private_file


def ensure_self_signed_certificate(folder: Path, names: Iterable[str]) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate and its private key in a folder.

    Both are generated, for a year, unless the folder has a certificate that is valid for all the names for at least
    another day, and its key.

    :param names: host names and IP addresses; ``localhost``, ``127.0.0.1`` and ``::1`` are added.
    """
    cert_path, key_path = folder / "tls.crt", folder / "tls.key"
    all_names = list(dict.fromkeys([*(name for name in names if name), "localhost", "127.0.0.1", "::1"]))
    if _is_valid_for(cert_path, key_path, all_names):
        return cert_path, key_path
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, all_names[0])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in all_names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private_file(key_path, pem)
    write_private_file(cert_path, certificate.public_bytes(serialization.Encoding.PEM))
    return cert_path, key_path


def _is_valid_for(cert_path: Path, key_path: Path, names: Iterable[str]) -> bool:
    """Return whether files are a certificate that is valid for these names for at least another day, and its key."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        certified = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    expires_soon = certificate.not_valid_after_utc <= datetime.now(UTC) + timedelta(days=1)
    has_key = key.public_key() == certificate.public_key()
    return has_key and not expires_soon and all(_general_name(name) in certified for name in names)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
