"""The region's own certificate authority: made, loaded, signing. What its certificates say of whom is in `tls`."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from imaging_common.errors import RejectedError
from imaging_common.tls import ae_uri, hospital_uri

CLOCK_LEEWAY = timedelta(minutes=5)
MIN_RSA_BITS = 2048

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class BadRequest(RejectedError):
    """A certificate signing request, key or certificate that cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: what signs, and the certificate that says so."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The authority's certificate, PEM."""
        return certificate_pem(self.certificate)

    def issue(
        self,
        public_key: PublicKey,
        *,
        common_name: str,
        hospital: str = "",
        ae_titles: Iterable[str] = (),
        hosts: Sequence[str] = (),
        lifetime: timedelta = timedelta(days=365),
        client: bool = True,
        server: bool = False,
    ) -> x509.Certificate:
        """A certificate for this key.

        Parameters
        ----------
        hosts
            DNS names and addresses it may serve.
        lifetime
            From now on; never beyond the authority's own.
        """
        now = datetime.now(UTC)
        names: list[x509.GeneralName] = [_host(host) for host in hosts]
        if hospital:
            names.append(x509.UniformResourceIdentifier(hospital_uri(hospital)))
        names += [x509.UniformResourceIdentifier(ae_uri(title)) for title in ae_titles]
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] * client + [ExtendedKeyUsageOID.SERVER_AUTH] * server
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_LEEWAY)
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """As the authority's own certificate has it, however its maker derived it (RFC 5280 §4.2.1.1)."""
        try:
            own = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(_taken(self.certificate.public_key()))
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key (P-256)."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(common_name: str, lifetime: timedelta = timedelta(days=3650)) -> Authority:
    """A new self-signed authority."""
    key = new_key()
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(_name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_LEEWAY)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def load_authority(certificate: Path, key: Path) -> Authority:
    """The authority from its two PEM files.

    Raises
    ------
    BadRequest
        They cannot be read, or do not belong together.
    """
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise BadRequest(f"the authority's files cannot be read: {type(error).__name__}") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadRequest("the authority's key is neither RSA nor elliptic")
    if private.public_key() != read.public_key():
        raise BadRequest("the authority's certificate and key do not belong together")
    return Authority(read, private)


def public_key_of_request(pem: bytes) -> PublicKey:
    """The key of a PKCS #10 request (RFC 2986), whose owner proved to have the private one. Nothing else of it counts.

    Raises
    ------
    BadRequest
        It is no request, its signature is wrong, or its key is weak.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        if not request.is_signature_valid:
            raise BadRequest("the request's signature is wrong")
    except (ValueError, InvalidSignature) as error:
        raise BadRequest("this is not a certificate signing request in PEM") from error
    return _taken(request.public_key())


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: PrivateKey) -> bytes:
    """PKCS #8, PEM, not encrypted: keep it in a file that only its owner reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _taken(key: object) -> PublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size >= 256:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise BadRequest(f"the key must be elliptic (256 bits or more) or RSA ({MIN_RSA_BITS} bits or more)")


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
