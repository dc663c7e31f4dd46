"""How an EHR follows its feed of the regional imaging cloud: over Kafka, by pulling, or as a webhook's receiver.

Each way prints one event a line (JSON) and keeps the number of the last one in a file, so that what comes twice is
taken once and a restart goes on where it was. A real EHR keeps that number in its database, in the same transaction as
what it does with the event. Needs Python 3.11; `kafka` needs aiokafka, `pull` httpx, `webhook` standardwebhooks.
Secrets come from the environment: EHR_KAFKA_PASSWORD, EHR_CLIENT_SECRET, EHR_WEBHOOK_SECRET.
"""

import argparse
import asyncio
import json
import os
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any


class Inbox:
    """Takes each event once, in order."""

    def __init__(self, file: Path, count: int) -> None:
        self._file = file
        self.last = int(file.read_text()) if file.exists() else 0
        self._left = count

    @property
    def full(self) -> bool:
        """As many as were asked for came."""
        return self._left == 0

    def take(self, event: dict[str, Any]) -> None:
        """Do something with the event, and remember its number; what was taken before is passed over."""
        number = int(event["sequence"])
        if number <= self.last:
            return
        print(json.dumps(event, ensure_ascii=False), flush=True)
        self._file.write_text(str(number))
        self.last = number
        self._left -= 1


async def follow_kafka(inbox: Inbox, asked: argparse.Namespace) -> None:
    """Read the topic, from a time on or from its begin; the one partition holds the feed in its order."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    partition = TopicPartition(f"ehr-{asked.organisation}-events", 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=asked.bootstrap, security_protocol=asked.protocol, sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username=f"ehr-{asked.organisation}", sasl_plain_password=os.environ["EHR_KAFKA_PASSWORD"],
        enable_auto_commit=False,
    )  # fmt: skip
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        if asked.since:
            at = int(datetime.fromisoformat(asked.since).timestamp() * 1000)
            found = (await consumer.offsets_for_times({partition: at}))[partition]
            if found is None:
                await consumer.seek_to_end(partition)
            else:
                consumer.seek(partition, found.offset)
        while not inbox.full:
            record = await consumer.getone()
            context = {name[3:]: text.decode() for name, text in record.headers if name.startswith("ce_")}
            inbox.take({**context, "data": json.loads(record.value)})
    finally:
        await consumer.stop()


def pull(inbox: Inbox, asked: argparse.Namespace) -> None:
    """Ask for what follows the last number, again and again."""
    import httpx

    secret = os.environ["EHR_CLIENT_SECRET"]
    form = {"grant_type": "client_credentials", "client_id": f"ehr-{asked.organisation}", "client_secret": secret}
    token, until = "", 0.0
    query = {"since": asked.since} if asked.since else {"after": str(inbox.last)}
    while not inbox.full:
        if time.monotonic() > until:
            got = httpx.post(f"{asked.issuer}/protocol/openid-connect/token", data=form).raise_for_status().json()
            token, until = got["access_token"], time.monotonic() + got["expires_in"] - 30
        bearer = {"Authorization": f"Bearer {token}"}
        page = httpx.get(f"{asked.portal}/ehr/events", params=query, headers=bearer).raise_for_status().json()
        for event in page["events"]:
            inbox.take(event)
        query = {"after": str(page["next"])}
        if not page["events"]:
            time.sleep(2)


def receive(inbox: Inbox, asked: argparse.Namespace) -> None:
    """Stand behind a webhook: check the signature over the raw body, answer 2xx once the event is kept."""
    from standardwebhooks import Webhook, WebhookVerificationError

    webhook = Webhook(os.environ["EHR_WEBHOOK_SECRET"])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            try:
                event = webhook.verify(body, {name.lower(): text for name, text in self.headers.items()})
                if event["type"] != "Ping":
                    inbox.take(event)
                self.send_response(204)
            except WebhookVerificationError:
                self.send_response(401)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: standard output is for events."""

    server = HTTPServer(("127.0.0.1", asked.port), Handler)  # behind your own TLS proxy
    while not inbox.full:
        server.handle_request()


def main() -> None:
    """`ehr_subscriber.py kafka|pull|webhook …`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("kafka", "pull", "webhook"))
    parser.add_argument("--organisation", default="residents")
    parser.add_argument("--state", type=Path, default=Path("last-number"), help="file with the last number")
    parser.add_argument("--count", type=int, default=-1, help="end after so many; unset: never")
    parser.add_argument("--since", default="", help="replay from a time, as 2026-11-28T08:00:00+08:00")
    parser.add_argument("--bootstrap", default="localhost:9092")
    parser.add_argument("--protocol", default="SASL_SSL", choices=("SASL_SSL", "SASL_PLAINTEXT"))
    parser.add_argument("--portal", default="https://imaging.example")
    parser.add_argument("--issuer", default="https://id.example/realms/imaging")
    parser.add_argument("--port", type=int, default=8080)
    asked = parser.parse_args()
    inbox = Inbox(asked.state, asked.count)
    if asked.way == "kafka":
        asyncio.run(follow_kafka(inbox, asked))
    elif asked.way == "pull":
        pull(inbox, asked)
    else:
        receive(inbox, asked)


if __name__ == "__main__":
    main()
