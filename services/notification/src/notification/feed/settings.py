"""Settings of feed and webhooks; they are the notification service's (`NOTIFICATION_…`)."""

from ipaddress import IPv4Network, IPv6Network

from pydantic import SecretStr

from imaging_common.settings import ServiceSettings
from notification.feed.model import Organisation


class FeedSettings(ServiceSettings):
    """Tells systems."""

    organisations: list[Organisation] = []
    """JSON: `[{"id": "residents", "hospitals": ["community", "secondary"]}]`: who is there at the first start; after
    that operators edit them."""
    feed_retention_days: float = 7.0
    """As long as the topics keep theirs."""
    webhook_seal: SecretStr = SecretStr("")
    """Encrypts the subscriptions' secrets in the database; empty: no subscription can be made."""
    webhook_http: bool = False
    """Receivers without TLS, too: for tests and the one-machine mode."""
    webhook_networks: list[IPv4Network | IPv6Network] = []
    """Networks of private addresses in which receivers may stand, e.g. `["10.20.0.0/16"]`; others are refused."""
    webhook_ca: str = ""
    """Further authorities (PEM file) that receivers' certificates may be of."""
    webhook_timeout_seconds: float = 15.0
    webhook_disable_hours: float = 24.0
    """A subscription that failed for so long is disabled, and operators are told."""
    webhook_overlap_hours: float = 24.0
    """So long the secret before a rotation signs beside the new one."""
