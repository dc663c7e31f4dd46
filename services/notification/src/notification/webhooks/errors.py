"""What can be wrong with a subscription."""


class BadAddress(Exception):
    """An address that nothing is sent to; the text says why."""


class NoSubscription(Exception):
    """There is none of that id."""


class SubscriptionChanged(Exception):
    """It is no longer as the operator saw it."""


class NoWebhooks(Exception):
    """The setting that seals the secrets is missing."""
