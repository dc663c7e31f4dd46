#!/bin/bash
# test.sh: brings the region up with Compose, plays the story in it, lets a fifth hospital join with compose.edge.yaml,
# looks at the region and saves it as an operator would, and takes everything down again with its volumes.
# Images of this repository are built where they are missing. A server's image that cannot be pulled is replaced by a
# stand-in of the same version (standin/…) where the engine has one; the first lines say which images are used.
# Variables: VERSION, IMAGE_PREFIX, PICTURES (folder for screenshots), KEEP=1 (leave it running), the servers' *_IMAGE.
set -euo pipefail
cd "$(dirname "$0")"
repository=$(cd ../.. && pwd)
region=$repository/.venv/bin/region
logs=${COMPOSE_LOGS:-$repository/build/compose-logs}
project=imaging-cloud-test
export VERSION=${VERSION:-0.1.0} IMAGE_PREFIX=${IMAGE_PREFIX:-imaging-cloud} SEAL_QUIET_SECONDS=6 QUIET_SECONDS=2

fail() {
    echo "COMPOSE FAIL $*" >&2
    exit 1
}

docker version --format '{{.Server.Version}}' > /dev/null 2>&1 ||
    fail "no container engine answers: \`docker\` must be in PATH and reach one (DOCKER_HOST)"
docker compose version > /dev/null 2>&1 || fail "\`docker compose\` is missing"

have() { docker image inspect "$1" > /dev/null 2>&1; }

server() { # NAME OFFICIAL STAND-IN: which image is used
    local variable=$1 image=${!1:-$2}
    if ! have "$image" && ! docker pull -q "$image" > /dev/null 2>&1; then
        [ -z "${!1:-}" ] && have "$3" || fail "$image is not here and cannot be pulled; name another by $variable"
        image=$3
    fi
    export "$variable=$image"
    echo "$variable=$image"
}

server KAFKA_IMAGE apache/kafka:4.1.1 standin/kafka:4.1.1
server MONGODB_IMAGE mongo:6.0.5 standin/mongodb:6.0.5
server MINIO_IMAGE minio/minio:RELEASE.2025-09-07T16-13-09Z standin/minio:2026-02
server KEYCLOAK_IMAGE keycloak/keycloak:26.4.0 standin/keycloak:26.4.0

missing=()
for image in $(ls "$repository/services") operate story; do
    have "$IMAGE_PREFIX/$image:$VERSION" || missing+=("$image")
done
[ ${#missing[@]} -eq 0 ] || "$repository/deploy/images/build.sh" "${missing[@]}"

joining=east
work=$(mktemp -d)
export SECRETS=$work/secrets
compose() { docker compose -p "$project" -f compose.yaml -f compose.test.yaml "$@"; }
edge() { # the fifth hospital's, as its IT has it: one file, and what the portal gave
    (cd "$work/edge-agent-$joining" && docker compose -p imaging-edge-test -f compose.edge.yaml -f compose.edge.test.yaml "$@")
}
end() {
    local status=$?
    if [ $status -ne 0 ]; then
        mkdir -p "$logs"
        compose --profile story --profile operate logs --no-color --timestamps > "$logs/compose.log" 2>&1 || true
        compose --profile story --profile operate ps -a > "$logs/ps.txt" 2>&1 || true
        edge logs --no-color --timestamps > "$logs/edge.log" 2>&1 || true
        echo "logs are in $logs" >&2
    fi
    if [ -z "${KEEP:-}" ]; then
        edge down --volumes --timeout 5 > /dev/null 2>&1 || true
        compose --profile story --profile operate down --volumes --remove-orphans --timeout 5 > /dev/null 2>&1 || true
        rm -rf "$work"
    fi
    exit $status
}
trap end EXIT

"$region" secrets --folder "$SECRETS" --demo --organisation residents \
    --hospital community --hospital secondary --hospital tertiary --hospital tcm
started=$SECONDS
compose up -d --wait --wait-timeout 600 2>&1 | tail -n 20 || fail "the region did not come up"
echo "region up and healthy after $((SECONDS - started)) s"
compose run --rm -T story || fail "the story"

in_story() { compose run --rm -T --no-deps --entrypoint "$1" story "${@:2}"; }
in_story python -m imaging_native.joining "$joining" > "$work/$joining.zip" || fail "the onboarding of $joining"
"$repository/.venv/bin/python" -m zipfile -e "$work/$joining.zip" "$work"
cp compose.edge.yaml compose.edge.test.yaml "$work/edge-agent-$joining"
chown -R 10001 "$work/edge-agent-$joining/tls"
edge up -d --wait --wait-timeout 120 2>&1 | tail -n 5 || fail "the agent of $joining did not come up"
in_story sh -c "python -c 'from pathlib import Path; from imaging_native import ct; ct.write_series(Path(\"/tmp/ct\"), slices=1, seed=5)' &&
    dcmsend -aec EAST +sd edge-agent 11112 /tmp/ct" || fail "$joining's agent does not take an image"
deadline=$((SECONDS + 120))
until compose run --rm -T region studies list --hospital "$joining" --json | grep -q study_uid; do
    [ $SECONDS -lt $deadline ] || fail "$joining's image did not reach the index"
done
echo "$joining joined with compose.edge.yaml, its first image is in the index"

key=$("$repository/.venv/bin/python" -c "from pyrage import x25519; print(x25519.Identity.generate().to_public())")
export BACKUP_RECIPIENTS=$key
compose run --rm -T region status || fail "\`region status\` sees something that is not well"
compose run --rm -T region backup make /backup || fail "the backup"
compose run --rm -T region backup verify /backup || fail "the backup is damaged"
compose run --rm -T region audit verify || fail "the audit record does not hold"
echo "COMPOSE PASS"
