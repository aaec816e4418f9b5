"""Certificates that Python's own TLS 1.3 accepts, strictly, and refuses where it should."""

import datetime as dt
import ipaddress
import secrets
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.crypto import tls
from bridge.errors import Misconfigured

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)  # the TLS library judges by the real clock
PASSWORD = secrets.token_hex(32).encode()


def make(*hosts, authority=None, now=NOW, days=30):
    return tls.make_certificate(hosts, now, days, password=PASSWORD, authority=authority)


def authority(now=NOW, days=365):
    made = tls.make_authority("County group", now, days, password=PASSWORD)
    return tls.Authority(made.certificate, made.key, PASSWORD)


def handshake(folder, issued, anchor, host):
    """A TLS 1.3 handshake in memory; gives the server's certificate as the client saw it."""
    (folder / "cert.pem").write_bytes(issued.certificate)
    (folder / "key.pem").write_bytes(issued.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.minimum_version = ssl.TLSVersion.TLSv1_3
    serving.load_cert_chain(folder / "cert.pem", folder / "key.pem", password=PASSWORD)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.minimum_version = ssl.TLSVersion.TLSv1_3
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    asking.load_verify_locations(cadata=anchor.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server, server_hostname=host)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    while len(done) < 2:
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"
    return client.getpeercert(binary_form=True)


@pytest.mark.parametrize("host", ["node.example.gov.uk", "localhost", "127.0.0.1", "::1"])
@pytest.mark.parametrize("signed_by_authority", [False, True], ids=["self-signed", "by an authority"])
def test_python_connects_to_the_host_named(tmp_path, host, signed_by_authority):
    group = authority() if signed_by_authority else None
    issued = make("other.example", host, authority=group)
    seen = handshake(tmp_path, issued, group.certificate if group else issued.certificate, host)
    assert seen == ssl.PEM_cert_to_DER_cert(issued.certificate.decode())


@pytest.mark.parametrize("host", ["elsewhere.example.gov.uk", "127.0.0.2"])
def test_python_refuses_a_host_not_named(tmp_path, host):
    issued = make("node.example.gov.uk", "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, issued, issued.certificate, host)


def test_python_refuses_a_certificate_of_another_authority(tmp_path):
    issued = make("localhost", authority=authority())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, issued, authority().certificate, "localhost")


def test_python_refuses_a_certificate_out_of_its_time(tmp_path):
    issued = make("localhost", now=NOW - dt.timedelta(days=31))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, issued, issued.certificate, "localhost")


def test_a_nodes_certificate_cannot_sign_others_and_an_authority_cannot_make_authorities():
    group = authority()
    leaf = x509.load_pem_x509_certificate(make("localhost", authority=group).certificate)
    root = x509.load_pem_x509_certificate(group.certificate)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    leaf.verify_directly_issued_by(root)


def test_a_certificate_lasts_from_an_hour_before_now_for_its_days_but_not_beyond_its_authority():
    leaf = x509.load_pem_x509_certificate(make("localhost", days=30).certificate)
    assert leaf.not_valid_before_utc == NOW - dt.timedelta(hours=1)
    assert leaf.not_valid_after_utc == NOW + dt.timedelta(days=30)
    short = make("localhost", authority=authority(days=7), days=30)
    assert tls.valid_until(short.certificate) == NOW + dt.timedelta(days=7)


def test_hosts_are_written_as_names_and_addresses():
    made = x509.load_pem_x509_certificate(make("Node.Example.gov.uk.", "10.0.0.1", "fe80::1").certificate)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["node.example.gov.uk"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("fe80::1"),
    ]
    assert isinstance(made.public_key(), ec.EllipticCurvePublicKey)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["."],
        ["a..b"],
        ["https://a"],
        ["a:8443"],
        ["*.gov.uk"],
        ["-a"],
        ["a" * 64],
        ["a." * 127 + "b"],
        ["caf\u00e9.example"],
        ["a b"],
        ["a\0b"],
    ],
    ids=[
        "none",
        "empty",
        "dot",
        "empty label",
        "scheme",
        "port",
        "star",
        "hyphen",
        "long label",
        "long name",
        "not ascii",
        "space",
        "nul",
    ],
)
def test_what_is_no_host_is_refused(hosts):
    with pytest.raises(Misconfigured):
        make(*hosts)


def test_a_persons_password_is_not_enough_for_a_key():
    with pytest.raises(Misconfigured, match="made by a machine"):
        tls.make_certificate(["localhost"], NOW, 30, password=b"correct horse")


def test_the_key_is_encrypted_and_neither_part_shows_itself():
    issued, group = make("localhost"), authority()
    assert issued.key.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert (repr(issued), repr(group)) == ("Issued()", "Authority()")


@pytest.mark.parametrize("change", ["certificate", "key", "password"])
def test_an_authority_whose_parts_do_not_fit_does_not_sign(change):
    other = {"certificate": authority().certificate, "key": authority().key, "password": b"x" * 32}
    with pytest.raises(Misconfigured, match="authority"):
        make("localhost", authority=authority()._replace(**{change: other[change]}))


def test_a_pin_is_of_the_key_and_outlives_the_certificate():
    one, two = make("localhost"), make("localhost")
    der = ssl.PEM_cert_to_DER_cert(one.certificate.decode())
    assert len(tls.spki_pin(der)) == 32
    assert tls.spki_pin(der) == tls.spki_pin(der)
    assert tls.spki_pin(der) != tls.spki_pin(ssl.PEM_cert_to_DER_cert(two.certificate.decode()))


# A certificate made with `openssl req -x509`, and its pin as `openssl pkey -pubin -outform der | sha256sum` gives it.
OPENSSL_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBgTCCASegAwIBAgIUdlNvUvTnl7zyikkwpLIPeaorZO4wCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLcGluLmV4YW1wbGUwHhcNMjYxMTIyMTA0NTA1WhcNMzYxMTE5
MTA0NTA1WjAWMRQwEgYDVQQDDAtwaW4uZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABJfJboXyhd2qEFHAXLQZs+SYm/xC5kuANUTqW/OCBB25Ijkov60X
jiwebAk48SLyNo6vP0KyYE3hq3WUEBStYgSjUzBRMB0GA1UdDgQWBBRmQ2vMt3U2
5vKoagaNwJ0jo4slWDAfBgNVHSMEGDAWgBRmQ2vMt3U25vKoagaNwJ0jo4slWDAP
BgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCu4g9dnYBQEX1rSD0c
IWKq7GpBrqDPshSQm4SxkfVoZgIgMqn1kB6TGPaC15SuAw+WLGpnIKY50ycL2s/C
QDjudgo=
-----END CERTIFICATE-----
"""
OPENSSL_PIN = "258ca8e212ff46094492104363b21600411ba42232aa37259a84bbe5e2cdde52"


def test_a_pin_is_what_openssl_computes():
    assert tls.spki_pin(ssl.PEM_cert_to_DER_cert(OPENSSL_CERTIFICATE)).hex() == OPENSSL_PIN


@pytest.mark.parametrize("data", [b"", b"\x30\x00", b"not a certificate"])
def test_what_is_no_certificate_has_no_pin_and_no_end(data):
    with pytest.raises(Misconfigured, match="not a certificate"):
        tls.spki_pin(data)
    with pytest.raises(Misconfigured, match="not a certificate"):
        tls.valid_until(data)
