"""Settings of the notification service, from the environment with the prefix `NOTIFICATION_`."""

from pydantic_settings import SettingsConfigDict

from notification.deliveries.settings import DeliverySettings
from notification.feed.settings import FeedSettings


class NotificationSettings(DeliverySettings, FeedSettings):
    """Tells people and systems."""

    model_config = SettingsConfigDict(env_prefix="NOTIFICATION_")

    database: str = "notification"
