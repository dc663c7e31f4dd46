"""What a verified logout token must say (OpenID Connect Back-Channel Logout 1.0 §2.4, §2.6)."""

from collections.abc import Mapping
from typing import Any

from gateway.errors import SignInFailed
from gateway.model import ProviderLogout

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE_SECONDS = 300.0
LEEWAY_SECONDS = 30.0


def read_logout(claims: Mapping[str, Any], now: float) -> ProviderLogout:
    """Whose sessions have ended, from claims whose signature, issuer and audience hold.

    Raises
    ------
    SignInFailed
        It is no logout token, an old one, or it names nobody.
    """
    issued = claims.get("iat")
    if not isinstance(issued, int | float) or not now - MAX_AGE_SECONDS <= issued <= now + LEEWAY_SECONDS:
        raise SignInFailed("the logout token was not issued just now")
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise SignInFailed("the token is no logout token")
    if "nonce" in claims:
        raise SignInFailed("a logout token has no nonce")
    logout = ProviderLogout(_text(claims.get("sid")), _text(claims.get("sub")))
    if not (logout.sid or logout.sub):
        raise SignInFailed("the logout token names nobody")
    return logout


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
