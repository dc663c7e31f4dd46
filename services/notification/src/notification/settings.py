"""Settings of the notification service, from the environment with the prefix `NOTIFICATION_`."""

from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings
from notification.model import Organisation


class NotificationSettings(ServiceSettings):
    """Tells people and systems."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATION_")

    database: str = "notification"
    organisations: list[Organisation] = []
    """JSON: `[{"id": "residents", "hospitals": ["community", "secondary"]}]`: whose EHR hears of which hospitals."""
