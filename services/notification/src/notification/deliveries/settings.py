"""Settings of the deliveries; they are the notification service's (`NOTIFICATION_…`)."""

from typing import Literal

from pydantic import SecretStr

from imaging_common.people.settings import DirectorySettings
from notification.deliveries.model import Chain


class DeliverySettings(DirectorySettings):
    """How people are reached outside the portal."""

    portal_url: str = "http://127.0.0.1:8080"
    """What the links in messages begin with."""
    smtp_host: str = ""
    """Empty: no e-mail is sent, and none is planned."""
    smtp_port: int = 587
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_timeout_seconds: float = 20.0
    mail_from: str = "imaging@region.example"
    """The sender; its domain ends every `Message-ID`."""
    sms_url: str = ""
    """Where text messages are posted to; empty: none is sent, and none is planned."""
    sms_token: SecretStr = SecretStr("")
    sms_timeout_seconds: float = 10.0
    chain: Chain = Chain()
    """JSON: `{"email": {"routine": 900, …}, "sms": {"urgent": 1800, …}}`, in seconds."""
    give_up_hours: float = 24.0
    """What could not be sent for so long is undeliverable."""
    delivery_keep_days: int = 90
    time_zone: str = "Asia/Shanghai"
    """In which quiet hours are meant."""
