"""TLS certificates for nodes that have none: self-signed, or by a small authority of a closed group (PROTOCOL section 11).

ECDSA P-256, which every TLS 1.3 library speaks. TLS hides who talks when; what an alert says and who sent it does
not rest on it.
"""

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bridge.errors import Misconfigured

SHORTEST_PASSWORD: Final = 32
_SKEW: Final = dt.timedelta(hours=1)  # how far a partner's clock may be behind ours on the first day
_COMMON_NAME_LENGTH: Final = 64


class Issued(NamedTuple):
    """A certificate and its private key, both PEM; the key is encrypted under the password it was made with."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Issued()"


class Authority(NamedTuple):
    """An authority's certificate and encrypted key, with the key's password, ready to sign."""

    certificate: bytes
    key: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Authority()"


def make_authority(name: str, now: dt.datetime, days: int, *, password: bytes) -> Issued:
    """Make a certificate authority that may sign nodes' certificates and no further authority.

    `password` as in `make_certificate`.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return Issued(certificate.public_bytes(Encoding.PEM), _key_pem(key, password))


def make_certificate(
    hosts: Sequence[str],
    now: dt.datetime,
    days: int,
    *,
    password: bytes,
    authority: Authority | None = None,
) -> Issued:
    """Make a certificate for these host names or IP addresses; self-signed unless an authority is given.

    `password` is made by a machine, at least 32 bytes (a random key in hex): the PEM form stretches it too little
    for one that a person chose. `ssl.SSLContext.load_cert_chain` takes it as it is. The certificate never outlives
    its authority's.

    Raises Misconfigured for no host, one that is neither a name nor an address, a short password, or an authority
    that does not open.
    """
    names = [_host(host) for host in hosts]
    if not names:
        raise Misconfigured(
            "A certificate needs at least one host name or address.", "Set the node's own address."
        )
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(hosts[0])
    issuer_name, issuer_key, latest = subject, key, None
    if authority is not None:
        issuer, issuer_key = _open(authority)
        issuer_name, latest = issuer.subject, issuer.not_valid_after_utc
    certificate = (
        _builder(subject, issuer_name, key.public_key(), now, days, latest)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
        .sign(issuer_key, SHA256())
    )
    return Issued(certificate.public_bytes(Encoding.PEM), _key_pem(key, password))


def spki_pin(cert_der: bytes) -> bytes:
    """SHA-256 of the certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4): the same after a renewal that keeps the key.

    Raises Misconfigured if this is not a certificate.
    """
    try:
        public = x509.load_der_x509_certificate(cert_der).public_key()
    except ValueError:
        raise _not_a_certificate() from None
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def valid_until(cert_pem: bytes) -> dt.datetime:
    """When the first certificate of a PEM file ends. Raises Misconfigured if there is none."""
    try:
        return x509.load_pem_x509_certificate(cert_pem).not_valid_after_utc
    except ValueError:
        raise _not_a_certificate() from None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    days: int,
    latest: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    end = now + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(end if latest is None else min(end, latest))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _open(authority: Authority) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
        key = load_pem_private_key(authority.key, authority.password)
    except (ValueError, TypeError):
        raise Misconfigured(
            "The certificate authority does not open.", "Check its certificate, key and password."
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        raise Misconfigured(
            "The authority's key is not that of its certificate.", "Use the pair made together."
        )
    return certificate, key


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    labels = host.removesuffix(".").split(".")
    if not all(_is_label(label) for label in labels) or len(host) > 253:
        raise Misconfigured(
            "A host of the certificate is neither a name nor an address.",
            "Give a name such as node.example.gov.uk, without scheme or port; international names as xn--.",
        )
    return x509.DNSName(".".join(labels).lower())


def _is_label(label: str) -> bool:
    return (
        0 < len(label) < 64
        and label.isascii()
        and label.replace("-", "").isalnum()
        and not label.startswith("-")
        and not label.endswith("-")
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_LENGTH])])


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    if len(password) < SHORTEST_PASSWORD:
        raise Misconfigured(
            "The password of a TLS key must be made by a machine.", "Use 32 random bytes or more."
        )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))


def _not_a_certificate() -> Misconfigured:
    return Misconfigured("This is not a certificate.", "Give an X.509 certificate, in the form asked for.")
