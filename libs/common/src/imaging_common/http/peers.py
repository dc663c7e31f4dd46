"""Which hospital stands at the other end of a connection, and whether it is the one the token names.

The client certificate comes from the connection itself (ASGI TLS extension), or, where a trusted proxy ends TLS, from
a header that it sets: RFC 9440 (`Client-Cert: :<base64 DER>:`) or URL-encoded PEM (nginx: `$ssl_client_escaped_cert`).
"""

import base64
import binascii
import ssl
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imaging_common.auth import Claims
from imaging_common.settings import ServiceSettings
from imaging_common.tls import PeerNames, names_of_der, names_of_pem

AE_HEADER = "X-Calling-AE"
"""The AE title in whose name an edge agent sends a request: its own."""


class TlsProtocol(HttpToolsProtocol):
    """Puts the client's certificate into the scope (ASGI TLS extension 0.2: `client_cert_chain`)."""

    _tls: dict[object, object] | None = None

    def connection_made(self, transport: Any) -> None:
        """Read the certificate once per connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            der = connection.getpeercert(binary_form=True)
            chain = [ssl.DER_cert_to_PEM_cert(der)] if der else []
            self._tls = {"client_cert_chain": chain, "client_cert_error": None}

    def on_message_begin(self) -> None:
        """Put it into each request's scope."""
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}


def peer_of(scope: Scope, settings: ServiceSettings) -> PeerNames | None:
    """Whom the client's certificate names; None: there is none, or it cannot be read."""
    chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain") or []
    try:
        if chain:
            return names_of_pem(chain[0])
        if settings.client_cert_header and (text := Headers(scope=scope).get(settings.client_cert_header)):
            return _of_header(text)
    except ValueError:
        return None
    return None


def _of_header(text: str) -> PeerNames:
    if text.startswith(":") and text.endswith(":"):
        try:
            return names_of_der(base64.b64decode(text[1:-1], validate=True))
        except binascii.Error as error:
            raise ValueError("no base64") from error
    return names_of_pem(unquote(text))


def edge_mismatch(scope: Scope, settings: ServiceSettings, claims: Claims) -> tuple[str, str]:
    """What does not match in an edge agent's request: a word for the audit record and a sentence; empty: all does.

    Token, certificate and the AE title of the request (`X-Calling-AE`) must name the same hospital (decision 0007).
    """
    peer = peer_of(scope, settings)
    ae_title = Headers(scope=scope).get(AE_HEADER, "").strip()
    if peer is None:
        return "no-certificate", "an edge agent shows a client certificate of the region's CA; none came"
    if peer.until < datetime.now(UTC):
        return "certificate-expired", "the client certificate has expired; put the new one in place"
    if not claims.hospital or peer.hospital != claims.hospital:
        return "certificate-of-another-hospital", "the client certificate names another hospital than the token"
    if not ae_title:
        return "no-ae-title", f"the request names no AE title ({AE_HEADER})"
    if ae_title not in peer.ae_titles:
        return "ae-title-not-in-certificate", "the client certificate does not allow the AE title of the request"
    return "", ""
