"""Waits until the servers of an evaluation answer and know this service: all of them start at the same time as it.

Arguments: `tcp:HOST:PORT` listens, `mongodb:FILE` takes the address in that file, `oidc:ISSUER` has its realm.
"""

import socket
import sys
import time
import urllib.request
from pathlib import Path


def ask(kind: str, where: str) -> None:
    """Raises while it is not so."""
    if kind == "tcp":
        host, _, port = where.rpartition(":")
        socket.create_connection((host, int(port)), 3).close()
    elif kind == "mongodb":
        from pymongo import MongoClient

        with MongoClient(Path(where).read_text(), timeoutMS=5000) as client:
            client.admin.command("ping")
    elif kind == "oidc":
        urllib.request.urlopen(f"{where}/.well-known/openid-configuration", timeout=5).close()  # noqa: S310 (our own)
    else:
        raise SystemExit(f"nothing is known of {kind}")


for argument in sys.argv[1:]:
    kind, _, where = argument.partition(":")
    while True:
        try:
            ask(kind, where)
        except Exception as error:
            print(f"{kind} is not ready yet: {type(error).__name__}", flush=True)
            time.sleep(2)
        else:
            break
