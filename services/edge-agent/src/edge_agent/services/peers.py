"""Who can be sent to: `AE@host:port,…` of the settings."""

Peer = tuple[str, str, int]
"""AE title, host, port."""


def parse_peers(text: str) -> dict[str, Peer]:
    """Peers by AE title.

    >>> parse_peers("WS1@10.0.0.7:11112, WS2@ws2.example:104")["WS1"]
    ('WS1', '10.0.0.7', 11112)

    Raises
    ------
    ValueError
        An entry is not `AE@host:port`.
    """
    peers: dict[str, Peer] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        ae_title, at, address = entry.partition("@")
        host, _, port = address.rpartition(":")
        if not at or not ae_title.strip() or not host or not port.isdecimal():
            raise ValueError(f"{entry!r} is not AE@host:port")
        peers[ae_title.strip()] = (ae_title.strip(), host.strip("[]"), int(port))
    return peers
