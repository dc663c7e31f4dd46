"""Subscriptions: signatures, back-off, when one is stopped, and where nothing is sent to."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from notification.webhooks.addresses import Rules, allowed, check_url, resolve
from notification.webhooks.errors import BadAddress
from notification.webhooks.model import (
    Attempt,
    Secret,
    Subscription,
    disabled_notice,
    new_secret,
    retry_delay,
    rotated,
    valid_secrets,
    verdict,
)
from notification.webhooks.signing import signed_headers

NOW = datetime(2026, 11, 28, 8, tzinfo=UTC)
LOOPBACK = Rules(http=True, networks=(ipaddress.ip_network("127.0.0.0/8"),))


def subscription(**more: object) -> Subscription:
    base = {"id": "s" * 32, "organisation": "city", "url": "https://ehr.example/x", "cursor": 0}
    return Subscription.model_validate({**base, "created_by": "operator.region", "created_at": NOW, **more})


def failed(status: int | None, at: datetime = NOW) -> Attempt:
    return Attempt(seq=1, event_id="e1", event_type="StudyChanged", at=at, status=status, milliseconds=3)


def test_both_secrets_sign_until_the_rotation_is_over() -> None:
    old, new = new_secret(), new_secret()
    one = subscription(secrets=[Secret(value=old)])
    one = one.model_copy(update={"secrets": rotated(one, new, NOW + timedelta(hours=24))})
    assert valid_secrets(one, NOW) == [new, old]
    assert valid_secrets(one, NOW + timedelta(hours=25)) == [new]
    third = rotated(one, new_secret(), NOW + timedelta(hours=48))
    assert old not in [secret.value for secret in third]
    headers = signed_headers("e1", datetime.now(UTC), '{"a":1}', valid_secrets(one, NOW))
    for secret in (old, new):
        assert Webhook(secret).verify('{"a":1}', headers) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify('{"a":2}', headers)


def test_secrets_are_in_no_dump_and_no_repr() -> None:
    secret = new_secret()
    one = subscription(secrets=[Secret(value=secret)])
    assert secret not in one.model_dump_json() + repr(one)


def test_waits_double_to_five_minutes_and_heed_the_receiver() -> None:
    waits = [retry_delay(n, None, lambda: 1.0) for n in range(1, 12)]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == 300.0
    assert retry_delay(10_000, None, lambda: 0.0) == 150.0
    assert retry_delay(1, 60, lambda: 1.0) == 60
    assert retry_delay(1, 999_999, lambda: 1.0) == 300


@pytest.mark.parametrize(
    ("status", "since", "state"),
    [
        (410, None, "gone"),
        (500, None, "active"),
        (None, NOW - timedelta(hours=23), "active"),
        (500, NOW - timedelta(hours=24), "failing"),
        (404, NOW - timedelta(hours=25), "failing"),
    ],
)
def test_subscription_is_stopped_when_it_is_gone_or_failed_for_too_long(
    status: int | None, since: datetime | None, state: str
) -> None:
    assert verdict(subscription(failing_since=since), failed(status), timedelta(hours=24)) == state


def test_one_series_of_failures_gives_one_notice_that_names_nobody() -> None:
    one = subscription(failing_since=NOW)
    first, again = disabled_notice(one, NOW), disabled_notice(one, NOW + timedelta(hours=1))
    assert first.notice_id == again.notice_id
    later = disabled_notice(one.model_copy(update={"failing_since": NOW + timedelta(days=1)}), NOW)
    assert later.notice_id != first.notice_id
    assert "ehr.example" not in first.model_dump_json()


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
        ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False), ("224.0.0.1", False),
        ("0.0.0.0", False), ("::1", False), ("fe80::1", False), ("fd00::1", False), ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True), ("64:ff9b::a00:1", False), ("2002:a00:1::", False),
    ],
)  # fmt: skip
def test_nothing_is_sent_inside_of_the_region(address: str, good: bool) -> None:
    assert allowed(ipaddress.ip_address(address), Rules()) is good


@pytest.mark.parametrize(
    "url",
    ["http://ehr.example/", "https://u:p@ehr.example/", "https://ehr.example/#x", "https:///x", "ftp://ehr.example/",
     "https://ehr.example:0/", "https://ehr.example/" + "x" * 2100, "https://ehr.example/\u4e2d", "https://[::1"],
)  # fmt: skip
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadAddress):
        check_url(url, Rules())


async def test_name_that_leads_inside_is_refused_unless_its_network_is_allowed() -> None:
    with pytest.raises(BadAddress):
        await resolve("https://localhost/x", Rules())
    target = await resolve("http://127.0.0.1:81/x", LOOPBACK)
    assert (target.ip, target.port) == ("127.0.0.1", 81)
