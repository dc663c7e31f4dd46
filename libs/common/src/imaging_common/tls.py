"""Mutual TLS: whom a peer's certificate names, and contexts whose certificates can be replaced while they serve.

A certificate of the region's CA names a hospital and the AE titles it may use in SAN URIs (RFC 5280 §4.2.1.6):
`urn:imaging:hospital:<id>`, `urn:imaging:ae:<AE title, percent-encoded>`. TLS as BCP 195 wants it (RFC 8996, RFC 9325;
PS3.15 B.12): 1.2 or 1.3, ephemeral keys, AEAD ciphers.
"""

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from cryptography import x509

from imaging_common.telemetry import get_logger

HOSPITAL_URN = "urn:imaging:hospital:"
AE_URN = "urn:imaging:ae:"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are good as they are."""
LOOK_SECONDS = 0.5
"""So often at most the files are looked at."""
_log = get_logger(__name__)


class BadTls(ValueError):
    """The settings for TLS do not fit together, or the files cannot be read."""


@dataclass(frozen=True, slots=True)
class PeerNames:
    """What a verified certificate says of its owner."""

    hospital: str
    """Empty: none, or more than one."""
    ae_titles: frozenset[str]
    until: datetime
    """It holds until then, UTC."""


def hospital_uri(hospital: str) -> str:
    """The SAN URI that names a hospital."""
    return HOSPITAL_URN + hospital


def ae_uri(ae_title: str) -> str:
    """The SAN URI that allows an AE title."""
    return AE_URN + quote(ae_title, safe="")


@lru_cache(maxsize=1024)
def names_of_pem(pem: str) -> PeerNames:
    """The names in a certificate that TLS, or the proxy, has verified.

    Raises
    ------
    ValueError
        It is no certificate.
    """
    return _names(x509.load_pem_x509_certificate(pem.encode()))


@lru_cache(maxsize=1024)
def names_of_der(der: bytes) -> PeerNames:
    """The same of its binary form; raises ValueError."""
    return _names(x509.load_der_x509_certificate(der))


def _names(certificate: x509.Certificate) -> PeerNames:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    hospitals = {uri.removeprefix(HOSPITAL_URN) for uri in uris if uri.startswith(HOSPITAL_URN)}
    titles = frozenset(unquote(uri.removeprefix(AE_URN)) for uri in uris if uri.startswith(AE_URN))
    return PeerNames(
        hospitals.pop() if len(hospitals) == 1 else "", titles, certificate.not_valid_after_utc.replace(tzinfo=UTC)
    )


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the own certificate (with its chain), its key, and the CA that peers must be of."""

    cert: str
    key: str
    ca: str

    @classmethod
    def of(cls, cert: str, key: str, ca: str) -> "TlsFiles | None":
        """None: TLS is not set up.

        Raises
        ------
        BadTls
            Only some of the three are given.
        """
        given = [bool(cert), bool(key), bool(ca)]
        if not any(given):
            return None
        if not all(given):
            raise BadTls("tls_cert, tls_key and tls_ca must be set together")
        return cls(cert, key, ca)

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Changes when a file is replaced or written; raises OSError when one is missing."""
        stats = [Path(name).stat() for name in (self.cert, self.key, self.ca)]
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)


class Rotating:
    """An SSL context that is made anew when its files change; safe from any thread.

    Files that do not fit together (one is replaced, the other not yet) leave the last good context in use.

    Raises
    ------
    BadTls
        The files cannot be used at the start.
    """

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()
        try:
            self._stamp = files.stamp()
            self._context = make(files)
        except (OSError, ssl.SSLError) as error:
            raise BadTls(f"the certificate, key or CA of TLS cannot be used: {error}") from error

    def current(self) -> ssl.SSLContext:
        """The context for a new connection."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                self._look()
            return self._context

    def _look(self) -> None:
        try:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return
            self._context = self._make(self._files)
        except (OSError, ssl.SSLError) as error:
            _log.warning("certificate-not-taken", error=type(error).__name__)
            return
        self._stamp = stamp
        _log.info("certificate-renewed")


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Presents the own certificate; the server must be of the CA and have the name that is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.ca)
    return _strict(context, files)


def server_context(files: TlsFiles, *, client_required: bool = True) -> ssl.SSLContext:
    """Asks peers for a certificate of the CA; takes the files anew for new connections once they change."""

    def make(of: TlsFiles) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(of.ca)
        context.verify_mode = ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
        context.options |= ssl.OP_NO_TICKET  # every connection shows its certificate
        context.num_tickets = 0
        return _strict(context, of)

    rotating = Rotating(files, make)
    outer = make(files)

    def choose(connection: ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        connection.context = rotating.current()

    outer.sni_callback = choose
    return outer


def _strict(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.load_cert_chain(files.cert, files.key)
    return context
