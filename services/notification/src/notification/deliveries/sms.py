"""`Sender` for text messages: `POST {"to", "text"}` to an SMS gateway, with the delivery as its `Idempotency-Key`."""

import httpx

from imaging_common.people import Person
from notification.deliveries.model import Delivery, Outcome
from notification.deliveries.settings import DeliverySettings
from notification.deliveries.texts import text_message

AGAIN = (401, 403, 408, 425, 429)
"""Of the answers below 500 those that another attempt may not meet: an operator mends them, or they pass."""


class HttpSmsSender:
    """Over one client, whose deadline holds for each call."""

    def __init__(self, settings: DeliverySettings, client: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._client = client or httpx.AsyncClient(timeout=settings.sms_timeout_seconds)

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def address(self, person: Person) -> str:
        """See `Sender.address`."""
        return person.phone

    async def send(self, delivery: Delivery, address: str, language: str) -> Outcome:
        """See `Sender.send`."""
        settings = self._settings
        headers = {"Idempotency-Key": delivery.id}
        if token := settings.sms_token.get_secret_value():
            headers["Authorization"] = f"Bearer {token}"
        body = {"to": address, "text": text_message(delivery, settings.portal_url.rstrip("/"), language)}
        try:
            answer = await self._client.post(settings.sms_url, json=body, headers=headers)
        except httpx.HTTPError as error:
            return Outcome(result="again", reason=f"no-answer-{type(error).__name__}")
        if answer.is_success:
            return Outcome(result="sent")
        final = 400 <= answer.status_code < 500 and answer.status_code not in AGAIN
        return Outcome(result="refused" if final else "again", reason=f"sms-{answer.status_code}")
