"""`Sender` for e-mail, over SMTP (RFC 5321)."""

import aiosmtplib

from imaging_common.people import Person
from notification.deliveries.model import Delivery, Outcome
from notification.deliveries.settings import DeliverySettings
from notification.deliveries.texts import mail

NOT_THE_MESSAGE = (530, 534, 535, 538)
"""Replies that are about the sender's own sign-in (RFC 4954): an operator can mend it, so it is tried again."""


class SmtpSender:
    """One connection for each message: there are few, and none is kept that a firewall forgot."""

    def __init__(self, settings: DeliverySettings) -> None:
        self._settings = settings

    def address(self, person: Person) -> str:
        """See `Sender.address`."""
        return person.email

    async def send(self, delivery: Delivery, address: str, language: str) -> Outcome:
        """See `Sender.send`; taken is what the server answered 250 to DATA for."""
        settings = self._settings
        try:
            await aiosmtplib.send(
                mail(delivery, settings.mail_from, address, settings.portal_url.rstrip("/"), language),
                sender=settings.mail_from,
                recipients=[address],
                hostname=settings.smtp_host,
                port=settings.smtp_port,
                username=settings.smtp_username or None,
                password=settings.smtp_password.get_secret_value() or None,
                use_tls=settings.smtp_tls == "tls",
                start_tls=settings.smtp_tls == "starttls",
                timeout=settings.smtp_timeout_seconds,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _answered(error.recipients[0].code if error.recipients else 450)
        except aiosmtplib.SMTPResponseException as error:
            return _answered(error.code)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            return Outcome(result="again", reason=f"no-answer-{type(error).__name__}")
        except ValueError:
            return Outcome(result="refused", reason="bad-address")
        return Outcome(result="sent")


def _answered(code: int) -> Outcome:
    """A refusal: 5xx is for good (RFC 5321 §4.2.1)."""
    final = 500 <= code < 600 and code not in NOT_THE_MESSAGE
    return Outcome(result="refused" if final else "again", reason=f"smtp-{code}")
