#!/bin/sh
# install.sh MEMBER…: in an image, brings what these members need of others: Debian packages, and Python packages pinned
# by requirements.txt. The members' pyproject.toml lie below the current folder.
set -eu
here=$(dirname "$0")
debian=$(python3 "$here/dependencies.py" debian "$@")
if [ -n "$debian" ]; then
    apt-get update -q
    # shellcheck disable=SC2086 (one word a package)
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $debian
    rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
fi
needed=$(mktemp)
python3 "$here/dependencies.py" python "$@" > "$needed"
pip --python /opt/imaging/bin/python install -q --cache-dir /root/.cache/pip -c requirements.txt -r "$needed"
rm "$needed"
