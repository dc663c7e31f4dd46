#!/bin/bash
# build.sh [IMAGE…]: builds all images of the imaging cloud, or these, and lists their sizes.
# IMAGE_PREFIX (imaging-cloud) and VERSION name them: imaging-cloud/indexer:0.1.0. OHIF is the folder of the viewer's
# published build. The engine is the one that `docker` reaches.
set -euo pipefail
cd "$(dirname "$0")/../.."
prefix=${IMAGE_PREFIX:-imaging-cloud}
version=${VERSION:?which version}
export DOCKER_BUILDKIT=1
if ! docker version --format '{{.Server.Version}}' > /dev/null 2>&1; then
    echo "no container engine answers: \`docker\` must be in PATH and reach one (DOCKER_HOST)" >&2
    exit 1
fi
images=("$@")
if [ ${#images[@]} -eq 0 ]; then
    images=($(ls services) operate story)
fi
revision=$(git rev-parse --short HEAD 2> /dev/null || echo unknown)
for image in "${images[@]}"; do
    target=service
    case $image in
        operate | story) target=$image ;;
        gateway)
            target=gateway
            mkdir -p build
            rm -rf build/ohif
            cp -r "${OHIF:?the folder of the viewer}" build/ohif
            ;;
    esac
    started=$SECONDS
    docker build -q -f deploy/Dockerfile --target "$target" --build-arg SERVICE="$image" \
        --build-arg VERSION="$version" --build-arg REVISION="$revision" \
        ${PYTHON_IMAGE:+--build-arg PYTHON_IMAGE="$PYTHON_IMAGE"} \
        -t "$prefix/$image:$version" . > /dev/null
    echo "$prefix/$image:$version built in $((SECONDS - started)) s"
done
echo
printf '%-40s %10s\n' IMAGE MB
for image in "${images[@]}"; do
    printf '%-40s %10d\n' "$prefix/$image:$version" \
        $(($(docker image inspect -f '{{.Size}}' "$prefix/$image:$version") / 1000000))
done
