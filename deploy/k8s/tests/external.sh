#!/bin/bash
# external.sh: the centre's chart on servers outside of the cluster, as README.md ("To run") says: secrets by `region
# secrets`, the set-up as a hook, Kafka over TLS with the region's authority. Installed, asked how it is, upgraded (the
# set-up runs again), asked again. The servers are those of deploy/compose, in containers.
# Variables: EXTERNAL_ADDRESS (of this machine, as the cluster's pods reach it), IMAGE_PREFIX, VERSION, the servers'
# *_IMAGE, KEEP=1 (leave everything).
set -euo pipefail
cd "$(dirname "$0")"
repository=$(cd ../../.. && pwd)
region=$repository/.venv/bin/region
compose_folder=$repository/deploy/compose
namespace=imaging-external
: "${EXTERNAL_ADDRESS:?the address of this machine that the cluster reaches}"
export EXTERNAL_ADDRESS KAFKA_EDGE_ADDRESS=$EXTERNAL_ADDRESS:9094

fail() {
    echo "EXTERNAL FAIL $*" >&2
    exit 1
}

work=$(mktemp -d)
export SECRETS=$work/secrets
compose() {
    docker compose -p imaging-cloud-external -f "$compose_folder/compose.yaml" -f external-servers.yaml "$@"
}
end() {
    local status=$?
    if [ -z "${KEEP:-}" ]; then
        kubectl delete namespace "$namespace" --ignore-not-found > /dev/null 2>&1 || true
        compose down --volumes --timeout 5 > /dev/null 2>&1 || true
        rm -rf "$work"
    fi
    exit $status
}
trap end EXIT

install() {
    helm -n "$namespace" upgrade --install region ../centre -f values-external.yaml --wait --timeout 6m \
        --set "image.prefix=${IMAGE_PREFIX:-imaging-cloud},image.tag=${VERSION:-0.1.0}" \
        --set "kafka.bootstrap=$EXTERNAL_ADDRESS:9094,objects.endpoint=$EXTERNAL_ADDRESS:9000" \
        --set "oidc.issuer=http://$EXTERNAL_ADDRESS:8180/realms/region,setup.keycloak.url=http://$EXTERNAL_ADDRESS:8180" \
        > /dev/null || fail "helm does not install"
    kubectl -n "$namespace" exec deploy/region-imaging-cloud-operate -- region status || fail "something is not well"
}

"$region" secrets --folder "$SECRETS" --organisation residents --hospital community \
    --door-host "$EXTERNAL_ADDRESS" --mongodb "$EXTERNAL_ADDRESS:27017"
compose up -d --wait kafka mongodb minio keycloak 2>&1 | tail -n 4 || fail "the servers did not come up"
# The replica set is its administrator's matter; here it is initiated, once.
IMAGING_SECRETS=$SECRETS/setup SETUP_MONGO_REPLICA_SET=rs0/$EXTERNAL_ADDRESS:27017 "$region" setup

kubectl create namespace "$namespace"
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
for folder in "$SECRETS"/*/; do
    kubectl -n "$namespace" create secret generic "region-imaging-cloud-$(basename "$folder")" --from-file="$folder"
done
kubectl -n "$namespace" create secret generic kafka-ca --from-file=ca.crt="$SECRETS/gateway/ca.pem"
install
install
kubectl -n "$namespace" exec deploy/region-imaging-cloud-operate -- region audit verify || fail "the audit record"
echo "EXTERNAL PASS"
