"""How processes reach Kafka: with SASL where they have a name, over TLS where they are told so."""

import ssl
from pathlib import Path

import pytest

from imaging_common.messaging.connection import client_options, tls_context
from imaging_common.settings import ServiceSettings
from imaging_operate.certificates import RegionCa


def test_without_tls_only_sasl_is_spoken() -> None:
    options = client_options(ServiceSettings(kafka_username="indexer"), "indexer")
    assert (options["security_protocol"], "ssl_context" in options) == ("SASL_PLAINTEXT", False)


def test_over_tls_only_the_named_authority_is_trusted(tmp_path: Path) -> None:
    settings = ServiceSettings(kafka_username="edge-tcm", kafka_tls=True, kafka_ca=str(RegionCa(tmp_path).path))
    options = client_options(settings, "edge-tcm")
    context: ssl.SSLContext = options["ssl_context"]
    assert options["security_protocol"] == "SASL_SSL"
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


def test_authority_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tls_context(ServiceSettings(kafka_tls=True, kafka_ca=str(tmp_path / "none.pem")))


def test_an_administrator_who_is_no_scram_user_signs_in_plainly() -> None:
    options = client_options(ServiceSettings(kafka_username="admin", kafka_mechanism="PLAIN"), "operate")
    assert options["sasl_mechanism"] == "PLAIN"
