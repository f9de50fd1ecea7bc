"""The project's certificate authority: short-lived certificates for servers, clients and nodes (RFC
5280, TLS 1.3 only).
"""

import datetime
import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mldsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
"""Of the project's own authority. A judgement: longer than projects last."""
SERVER_DAYS = 30
"""Of a server's certificate, renewed by itself: how long a stolen key is of use. A judgement."""
CLIENT = "casemate:client/"
Kind = Literal["server", "client", "node"]
Algorithm = Literal["p256", "mldsa65"]
USES = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "node": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}
_CLOCK_SKEW = datetime.timedelta(minutes=5)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def create_authority(project: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A new CA key and its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"casemate CA {project}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _CLOCK_SKEW)
        .not_valid_after(_now() + datetime.timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def client_of(certificate: x509.Certificate) -> str | None:
    """The name of the client that this authority's certificate was issued to; None when it is no
    client's.
    """
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.UniformResourceIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return (
        unquote(found[0].removeprefix(CLIENT))
        if len(found) == 1 and found[0].startswith(CLIENT)
        else None
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass(frozen=True)
class Authority:
    """Issues certificates for the gateway and for services."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def from_pem(cls, key: bytes, certificate: bytes) -> "Authority":
        """Load both halves from PEM."""
        private = serialization.load_pem_private_key(key, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError("the CA key is not an elliptic curve key")
        return cls(private, x509.load_pem_x509_certificate(certificate))

    @property
    def pem(self) -> bytes:
        """The CA certificate as PEM: what clients trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue_server(self, names: list[str]) -> tuple[bytes, bytes]:
        """(certificate chain PEM, private key PEM) for a TLS server known by `names`."""
        return self.issue("server", names, SERVER_DAYS, "p256")

    def issue(
        self, kind: Kind, names: list[str], days: int, algorithm: Algorithm
    ) -> tuple[bytes, bytes]:
        """(certificate chain PEM, private key PEM).

        Args:
            kind: what it may be used for; a `node` is server and client at once.
            names: DNS names and addresses; a client's single name becomes a URI
                `casemate:client/NAME`.
            days: how long it is valid.
            algorithm: of the holder's key; ML-DSA-65 (RFC 9881) needs a TLS stack that knows it,
                OpenSSL 3.5 or newer.
        """
        key = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "p256"
            else mldsa.MLDSA65PrivateKey.generate()
        )
        alternative = (
            [x509.UniformResourceIdentifier(CLIENT + quote(name)) for name in names]
            if kind == "client"
            else [_general_name(n) for n in names]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(names[0]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() - _CLOCK_SKEW)
            .not_valid_after(_now() + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(USES[kind]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self.pem, private

    def crl(self, revoked: list[tuple[int, datetime.datetime]]) -> bytes:
        """A certificate revocation list as PEM (RFC 5280, section 5), valid for a day."""
        now = _now()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(now - _CLOCK_SKEW).next_update(
            now + datetime.timedelta(days=1)
        )
        builder = builder.add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
            critical=False,
        )
        for serial, when in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when).build()
            )
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
