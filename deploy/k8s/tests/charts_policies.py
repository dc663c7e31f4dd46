"""The NetworkPolicies allow what the design's table says, and nothing else: asked pod by pod, as a cluster would."""

import re
from pathlib import Path

from manifests import SERVERS, SERVICES, Manifest, matches, of_kind, pods, selected

CALLS = {
    ("gateway", "consult"),
    ("gateway", "notification"),
    ("gateway", "audit"),
    ("gateway", "dicom-ingest"),
    ("consult", "gateway"),
    ("consult", "dicom-ingest"),
}
"""Who calls whom over HTTP: the design's four direct calls that stay in the centre (see `docs/decisions`)."""
USES = {
    "kafka": set(SERVICES),
    "mongodb": {"object-writer", "indexer", "gateway", "consult", "notification", "audit"},
    "minio": {"dicom-ingest", "object-writer", "indexer", "gateway", "audit"},
    "keycloak": {"dicom-ingest", "gateway", "consult", "notification", "audit"},
}
PORTS = {"kafka": "internal", "mongodb": "mongodb", "minio": "s3", "keycloak": "http"}
TABLE = re.compile(r"^ {2}(\w[\w-]*):$")


def test_every_pod_is_denied_everything_first(evaluation: list[Manifest], production: list[Manifest]) -> None:
    for variant in (evaluation, production):
        policies = of_kind(variant, "NetworkPolicy")
        deny = policies["test-imaging-cloud-deny-all"]
        assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert deny["spec"].keys() == {"podSelector", "policyTypes"}
        for name, labels, _ in pods(variant):
            assert selected(deny, labels), name


def test_services_call_each_other_as_in_the_table_and_not_otherwise(
    evaluation: list[Manifest], production: list[Manifest]
) -> None:
    for variant in (evaluation, production):
        world = World(variant)
        for caller in SERVICES:
            for other in SERVICES:
                if caller != other:
                    allowed = world.leaves(caller, other, "http") and world.enters(caller, other, "http")
                    assert allowed == ((caller, other) in CALLS), (caller, other)
                    assert not world.leaves(caller, other, "door"), (caller, other)


def test_services_reach_the_servers_that_they_use_and_no_other(evaluation: list[Manifest]) -> None:
    world = World(evaluation)
    for server, users in USES.items():
        for service in SERVICES:
            allowed = world.leaves(service, server, PORTS[server]) and world.enters(service, server, PORTS[server])
            assert allowed == (service in users), (service, server)
    for service in SERVICES:
        assert world.leaves(service, "mailbox", "smtp") == (service == "notification"), service


def test_servers_call_nobody_but_for_sign_outs_and_invitations(evaluation: list[Manifest]) -> None:
    world = World(evaluation)
    for server in SERVERS:
        reached = {other for other in (*SERVICES, *SERVERS) if world.leaves(server, other, "http")}
        assert reached <= ({"gateway"} if server == "keycloak" else set()), server
    assert world.leaves("keycloak", "mailbox", "smtp")


def test_external_servers_are_reached_at_their_ports_only(production: list[Manifest]) -> None:
    for service in SERVICES:
        policy = of_kind(production, "NetworkPolicy")[f"test-imaging-cloud-{service}"]
        outside = {
            port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"] if isinstance(port["port"], int)
        }
        expected = {9093, 4318}  # Kafka, traces
        expected |= {27017} if service in USES["mongodb"] else set()
        expected |= {443, 9000} if service in USES["minio"] else set()
        expected |= {443} if service in USES["keycloak"] else set()
        expected |= {25, 465, 587, 443} if service == "notification" else set()
        assert outside == expected, service


def test_only_doors_and_the_portal_can_be_entered_from_outside(production: list[Manifest]) -> None:
    for service in SERVICES:
        policy = of_kind(production, "NetworkPolicy")[f"test-imaging-cloud-{service}"]
        anywhere = {
            port["port"]
            for rule in policy["spec"]["ingress"]
            for port in rule["ports"]
            if any("ipBlock" in peer for peer in rule["from"])
        }
        assert anywhere == {"gateway": {"door"}, "dicom-ingest": {"door", "dicom"}}.get(service, set()), service


def test_an_edge_agent_is_entered_by_devices_and_calls_centre_and_hospital(edge: list[Manifest]) -> None:
    (policy,) = of_kind(edge, "NetworkPolicy").values()
    ((_, labels, pod),) = pods(edge)
    assert selected(policy, labels)
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    (devices,) = policy["spec"]["ingress"]
    named = {port["name"] for port in pod["containers"][0]["ports"]} - {"http"}
    assert {port["port"] for port in devices["ports"]} == named
    assert all("ipBlock" in peer for peer in devices["from"])


def test_the_chart_and_this_table_name_the_same_services() -> None:
    plan = Path(__file__).parents[1] / "centre" / "templates" / "_plan.tpl"
    named = {line.removesuffix(":") for line in plan.read_text().splitlines() if re.fullmatch(r"[a-z-]+:", line)}
    assert named == set(SERVICES)


class World:
    """The pods of a namespace and what may go between them."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self._policies = list(of_kind(manifests, "NetworkPolicy").values())
        self._labels = {labels["app.kubernetes.io/name"]: labels for _, labels, _ in pods(manifests)}

    def leaves(self, caller: str, other: str, port: str) -> bool:
        """Whether some policy lets `caller` send to `other`."""
        return self._allowed(caller, other, port, "egress", "to")

    def enters(self, caller: str, other: str, port: str) -> bool:
        """Whether some policy lets `other` be sent to by `caller`."""
        return self._allowed(other, caller, port, "ingress", "from")

    def _allowed(self, who: str, peer: str, port: str, direction: str, side: str) -> bool:
        if peer not in self._labels:
            return False
        for policy in self._policies:
            if not selected(policy, self._labels[who]):
                continue
            for rule in policy["spec"].get(direction) or []:
                if port in {one["port"] for one in rule["ports"]} and self._is_peer(rule.get(side), peer):
                    return True
        return False

    def _is_peer(self, peers: list[Manifest] | None, name: str) -> bool:
        """Of this namespace; whole namespaces (ingress controller, Prometheus, edges of an evaluation) are others."""
        return any("podSelector" in one and matches(one["podSelector"], self._labels[name]) for one in peers or [])
