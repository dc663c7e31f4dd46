"""Where settings come from: the environment, and one file for each secret."""

from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from imaging_common.settings import ServiceSettings


class IndexerSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="INDEXER_")


def test_a_secret_is_read_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "indexer_kafka_password").write_text("from-the-file\n")
    monkeypatch.setenv("IMAGING_SECRETS", str(tmp_path))
    assert IndexerSettings().kafka_password.get_secret_value() == "from-the-file"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "indexer_kafka_password").write_text("from-the-file")
    monkeypatch.setenv("IMAGING_SECRETS", str(tmp_path))
    monkeypatch.setenv("INDEXER_KAFKA_PASSWORD", "from-the-environment")
    assert IndexerSettings().kafka_password.get_secret_value() == "from-the-environment"


def test_a_machine_without_the_folder_has_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_SECRETS", str(tmp_path / "none"))
    assert IndexerSettings().kafka_password.get_secret_value() == ""
