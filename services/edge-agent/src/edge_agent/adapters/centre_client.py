"""How the agent shows itself to the centre over HTTPS: its client certificate, the region's CA, its own AE title."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from edge_agent.settings import Settings
from imaging_common.http.peers import AE_HEADER
from imaging_common.tls import Rotating, TlsFiles, client_context


class CentreIdentity:
    """What every request to the centre carries; without certificate files plain HTTP or the system's CAs (tests)."""

    def __init__(self, ae_title: str, files: TlsFiles | None = None) -> None:
        self.headers = {AE_HEADER: ae_title}
        self._rotating = Rotating(files, client_context) if files is not None else None
        self._default = ssl.create_default_context() if files is None else None

    @classmethod
    def of(cls, settings: Settings) -> "CentreIdentity":
        """From the settings; raises `BadTls`."""
        return cls(settings.ae_title, TlsFiles.of(settings.tls_cert, settings.tls_key, settings.tls_ca))

    def context(self) -> ssl.SSLContext:
        """For a new connection: another one once the files have changed."""
        context = self._rotating.current() if self._rotating is not None else self._default
        assert context is not None
        return context


class _Held:
    """A client and who uses it."""

    def __init__(self, client: httpx.AsyncClient, context: ssl.SSLContext) -> None:
        self.client = client
        self.context = context
        self.users = 0


class CentreClient:
    """Connections to the centre. Once the certificate has changed a new client takes over; the old one ends with the
    last request on it, so that none is cut."""

    def __init__(self, identity: CentreIdentity | None, timeout: httpx.Timeout) -> None:
        self._identity = identity or CentreIdentity("")
        self._timeout = timeout
        self._held = self._make()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request."""
        if self._identity.context() is not self._held.context:
            old, self._held = self._held, self._make()
            await self._close_unused(old)
        held = self._held
        held.users += 1
        try:
            yield held.client
        finally:
            held.users -= 1
            if held is not self._held:
                await self._close_unused(held)

    async def close(self) -> None:
        """Close the connections."""
        await self._held.client.aclose()

    def _make(self) -> _Held:
        context = self._identity.context()
        return _Held(httpx.AsyncClient(verify=context, timeout=self._timeout, headers=self._identity.headers), context)

    @staticmethod
    async def _close_unused(held: _Held) -> None:
        if not held.users:
            await held.client.aclose()
