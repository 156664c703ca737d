"""A key and its certificate, for tests of what is signed with RSA."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    """A certificate for a key, signed by itself, as PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(
        datetime(2020, 1, 1, tzinfo=UTC)
    )
    signed = builder.not_valid_after(datetime(2049, 1, 1, tzinfo=UTC)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


KEY = rsa.generate_private_key(65537, 2048)
PEM = certificate(KEY)
