"""Which addresses are sent to: HTTPS, and nothing inside of the region unless the operator's setting names it."""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from notification.webhooks.errors import BadAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_URL = 2048
LOOKUP_SECONDS = 5.0
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed."""

    http: bool = False
    """Without TLS, too: for tests and the one-machine mode."""
    networks: tuple[Network, ...] = ()
    """Networks of private addresses in which receivers may stand."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and as what the receiver knows itself."""

    ip: str
    port: int
    host: str


def check_url(url: str, rules: Rules) -> None:
    """Look at the address as it is written.

    Raises
    ------
    BadAddress
        No `https` (or allowed `http`), no host, credentials or a fragment in it, too long.
    """
    if len(url) > MAX_URL or any(not 0x21 <= ord(one) <= 0x7E for one in url):
        raise BadAddress("the address is longer than 2048 characters, or holds others than printable ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadAddress("it is no address") from error
    if parts.scheme not in (("https", "http") if rules.http else ("https",)):
        raise BadAddress("the address must begin with https://")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment or port == 0:
        raise BadAddress("the address needs a host, and no user, password or fragment")


def allowed(address: Address, rules: Rules) -> bool:
    """Whether an IP address is public, or in an allowed network; what wraps an IPv4 address is judged as that one."""
    inner = address
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour
        if wrapped is None and address in NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        inner = wrapped or address
    if any(inner.version == network.version and inner in network for network in rules.networks):
        return True
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


async def resolve(url: str, rules: Rules) -> Target:
    """The IP address to connect to: it is looked up once and connected to as it was checked.

    Raises
    ------
    BadAddress
        See `check_url`; or one of the host's addresses is inside of the region, or it has none.
    """
    check_url(url, rules)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = await _look_up(host, port)
    if not found:
        raise BadAddress("the host's name has no address")
    if not all(allowed(one, rules) for one in found):
        raise BadAddress("the host is inside of the region; NOTIFICATION_WEBHOOK_NETWORKS names no network with it")
    return Target(str(found[0]), port, host)


async def _look_up(host: str, port: int) -> Sequence[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return []
    return [ipaddress.ip_address(info[4][0].partition("%")[0]) for info in infos if isinstance(info[4][0], str)]
