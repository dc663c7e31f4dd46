"""For tests without a TLS connection: requests that come as if a client had shown a certificate."""

from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send


class ShowsCertificate:
    """Passes requests on with a client certificate in their scope (ASGI TLS extension); `pem` may be changed."""

    def __init__(self, app: ASGIApp, certificate: Path | None = None) -> None:
        self._app = app
        self.pem = certificate.read_text() if certificate is not None else ""

    def show(self, certificate: Path | None) -> None:
        """From now on this one; None: none."""
        self.pem = certificate.read_text() if certificate is not None else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        chain = [self.pem] if self.pem else []
        await self._app({**scope, "extensions": {"tls": {"client_cert_chain": chain}}}, receive, send)
