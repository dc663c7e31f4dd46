"""The ledger of upgrades under load, and what a browser is told of addresses without TLS."""

from imaging_native.steady import Ledger
from imaging_native.story.browser import map_hosts, trust_origins


def test_an_instance_is_lost_when_it_is_not_indexed_or_does_not_come_back() -> None:
    assert Ledger(acknowledged=8, indexed=8, given_back=8).lost == 0
    assert Ledger(acknowledged=8, indexed=7, given_back=8).lost == 1
    assert Ledger(acknowledged=8, indexed=8, given_back=5).lost == 3


def test_a_browser_trusts_only_named_origins() -> None:
    assert trust_origins("") == []
    assert trust_origins("http://a:8080,http://b:8180") == [
        "--unsafely-treat-insecure-origin-as-secure=http://a:8080,http://b:8180"
    ]
    assert map_hosts({"portal.localhost": "gateway"}) == ["--host-resolver-rules=MAP portal.localhost gateway"]
