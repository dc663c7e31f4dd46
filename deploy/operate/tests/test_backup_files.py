"""Files of a backup: sealed whole or not at all, opened only by the right key, and damage is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyrage import x25519

from imaging_operate.backup.mongodb import documents
from imaging_operate.backup.sealing import CHUNK, digest_of, read_identities, read_recipients, seal, unsealed
from imaging_operate.backup.shelf import FolderShelf, open_shelf, read_all, write_all
from imaging_operate.console import OperatingError
from imaging_operate.settings import RegionSettings

KEY = x25519.Identity.generate()
RECIPIENTS, IDENTITIES = [KEY.to_public()], [KEY]
CONTENT = [bytes([n]) * 300_000 for n in range(9)]


@pytest.fixture
def shelf(tmp_path: Path) -> FolderShelf:
    return FolderShelf(tmp_path / "backups")


@pytest.mark.parametrize("compress", [False, True])
def test_what_is_sealed_comes_back(shelf: FolderShelf, compress: bool) -> None:
    sealed = seal(shelf, "a/b.age", iter(CONTENT), RECIPIENTS, compress=compress)
    with unsealed(shelf, sealed, IDENTITIES) as pieces:
        assert b"".join(pieces) == b"".join(CONTENT)
    assert (sealed.content_size, sealed.sha256) == (2_700_000, digest_of(shelf, "a/b.age")[0])
    assert bytes(1000) not in read_all(shelf, "a/b.age")
    assert sealed.size < (100_000 if compress else 3_000_000)


def test_an_empty_file_is_a_file(shelf: FolderShelf) -> None:
    with unsealed(shelf, seal(shelf, "empty", [], RECIPIENTS, compress=True), IDENTITIES) as pieces:
        assert list(pieces) == []


def test_another_key_does_not_open_it(shelf: FolderShelf) -> None:
    sealed = seal(shelf, "a", CONTENT, RECIPIENTS, compress=False)
    with (
        pytest.raises(OperatingError, match="no key of the identity file opens it"),
        unsealed(shelf, sealed, [x25519.Identity.generate()]) as pieces,
    ):
        list(pieces)


@pytest.mark.parametrize("compress", [False, True])
def test_damage_is_found(shelf: FolderShelf, compress: bool) -> None:
    sealed = seal(shelf, "a", CONTENT, RECIPIENTS, compress=compress)
    data = bytearray(read_all(shelf, "a"))
    data[len(data) // 2] ^= 1
    write_all(shelf, "a", bytes(data))
    with pytest.raises(OperatingError, match="a of the backup"), unsealed(shelf, sealed, IDENTITIES) as pieces:
        list(pieces)


def test_another_content_than_was_saved_is_found(shelf: FolderShelf) -> None:
    sealed = seal(shelf, "a", CONTENT, RECIPIENTS, compress=False)
    seal(shelf, "a", CONTENT[1:], RECIPIENTS, compress=False)
    with pytest.raises(OperatingError, match="not what was saved"), unsealed(shelf, sealed, IDENTITIES) as pieces:
        list(pieces)


def test_who_stops_reading_stops_the_decryption(shelf: FolderShelf) -> None:
    sealed = seal(shelf, "large", (bytes(CHUNK) for _ in range(64)), RECIPIENTS, compress=False)
    with unsealed(shelf, sealed, IDENTITIES) as pieces:
        assert next(pieces)
    # leaving the block has joined the thread; nothing waits for ever


def test_a_file_that_fails_half_way_is_not_there(shelf: FolderShelf) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[0]
        raise OSError("the source broke off")

    with pytest.raises(Exception, match="the source broke off"):
        seal(shelf, "half", broken(), RECIPIENTS, compress=True)
    assert not shelf.exists("half")
    assert list(shelf.names("")) == []


def test_only_its_owner_reads_a_backup(shelf: FolderShelf, tmp_path: Path) -> None:
    write_all(shelf, "x/y", b"data")
    assert (tmp_path / "backups/x/y").stat().st_mode & 0o077 == 0
    shelf.remove("x/y")
    shelf.remove("x/y")
    assert not shelf.exists("x/y")


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    public.write_text(f"# of the centre\n{KEY.to_public()}\n\n")
    private.write_text(f"# created: today\n{KEY}\n")
    assert [str(one) for one in read_recipients(str(public))] == [str(KEY.to_public())]
    other = x25519.Identity.generate().to_public()
    assert [str(one) for one in read_recipients(f"{KEY.to_public()}, {other}")] == [str(KEY.to_public()), str(other)]
    assert len(read_identities(str(private))) == 1
    with pytest.raises(OperatingError, match="no public age key"):
        read_recipients(str(private))
    with pytest.raises(OperatingError, match="REGION_BACKUP_RECIPIENTS"):
        read_recipients("")
    with pytest.raises(OperatingError, match="cannot be read"):
        read_identities(str(tmp_path / "none"))


def test_a_private_key_never_appears_in_an_error(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.write_text(str(KEY)[:-1] + "\n")
    with pytest.raises(OperatingError) as failed:
        read_identities(str(private))
    assert str(KEY)[:40] not in str(failed.value)


def test_an_s3_shelf_needs_its_store() -> None:
    with pytest.raises(OperatingError, match="REGION_BACKUP_S3_ENDPOINT"):
        open_shelf("s3://bucket/there", RegionSettings())


def test_documents_are_cut_out_of_a_stream_wherever_it_breaks() -> None:
    whole = [(4 + n).to_bytes(4, "little") + b"x" * n for n in (1, 50, 3)]
    stream = b"".join(whole)
    for size in (1, 3, 7, len(stream)):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert list(documents(pieces)) == whole
    with pytest.raises(OperatingError, match="within a document"):
        list(documents([stream[:-1]]))
