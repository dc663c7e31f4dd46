"""How a process of this region connects to Kafka: SASL and short deadlines, for every client alike."""

import ssl
from typing import Any

from imaging_common.settings import ServiceSettings

REQUEST_TIMEOUT_MS = 15_000
METADATA_MAX_AGE_MS = 2_000
MAX_RECORD_BYTES = 7 * 1024 * 1024
"""A manifest of 30,000 instances fits; the broker's `message.max.bytes` is above it."""


def client_options(settings: ServiceSettings, client_id: str) -> dict[str, Any]:
    """Keyword arguments of an aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        "retry_backoff_ms": 200,
    }
    if settings.kafka_username:
        options |= {
            "security_protocol": "SASL_SSL" if settings.kafka_tls else "SASL_PLAINTEXT",
            "sasl_mechanism": settings.kafka_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    if context := tls_context(settings):
        options["ssl_context"] = context
    return options


def tls_context(settings: ServiceSettings) -> ssl.SSLContext | None:
    """How Kafka's certificate is checked; None: it is reached without TLS.

    Raises
    ------
    OSError
        The file of `kafka_ca` cannot be read.
    """
    return ssl.create_default_context(cafile=settings.kafka_ca or None) if settings.kafka_tls else None
