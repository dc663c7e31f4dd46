"""Certificates: whom they name, and contexts that take new ones without a restart."""

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from imaging_common import tls
from imaging_common.tls import BadTls, Rotating, TlsFiles, client_context, names_of_pem, server_context
from imaging_operate.certificates import RegionCa


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> RegionCa:
    return RegionCa(tmp_path_factory.mktemp("ca"))


def test_certificate_names_hospital_and_ae_titles(ca: RegionCa) -> None:
    names = names_of_pem(ca.edge("community", ["COMMUNITY", "CT 1/2"]).cert.read_text())
    assert (names.hospital, names.ae_titles) == ("community", frozenset({"COMMUNITY", "CT 1/2"}))
    server = names_of_pem(ca.server("x").cert.read_text())
    assert (server.hospital, server.ae_titles) == ("", frozenset())


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> int:
    """Let both speak to each other in memory; the serial number of the server's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    open_ends = {one, other}
    for _ in range(10):
        for end in tuple(open_ends):
            try:
                end.do_handshake()
                open_ends.discard(end)
            except ssl.SSLWantReadError:
                continue
    assert not open_ends
    der = one.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def serial(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def test_new_connections_see_the_new_certificate(ca: RegionCa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0)
    server = ca.server("rotating")
    context, client = server_context(server.files), client_context(ca.edge("community", ["A"], name="c").files)
    assert shake_hands(context, client) == serial(server.cert)
    ca.server("rotating")
    assert shake_hands(context, client) == serial(server.cert)


def test_files_that_do_not_fit_together_leave_the_last_good_certificate(
    ca: RegionCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0)
    files = ca.edge("community", ["A"], name="half")
    rotating = Rotating(files.files, client_context)
    good = rotating.current()
    key = files.key.read_bytes()
    files.key.write_bytes(ca.edge("community", ["A"], name="other").key.read_bytes())
    assert rotating.current() is good
    files.key.unlink()
    assert rotating.current() is good
    files.key.write_bytes(key)
    assert rotating.current() is not good


def test_old_versions_and_weak_ciphers_are_not_spoken(ca: RegionCa) -> None:
    for context in (server_context(ca.server("strict").files), client_context(ca.server("strict").files)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert all(c["aead"] and c["kea"] in ("kx-ecdhe", "kx-any") for c in context.get_ciphers())


def test_half_a_configuration_does_not_start(tmp_path: Path) -> None:
    assert TlsFiles.of("", "", "") is None
    with pytest.raises(BadTls):
        TlsFiles.of("cert.pem", "", "ca.pem")
    with pytest.raises(BadTls):
        Rotating(TlsFiles(*(str(tmp_path / name) for name in "abc")), client_context)


def test_key_is_readable_by_its_owner_alone(ca: RegionCa) -> None:
    assert os.stat(ca.edge("community", [], name="mode").key).st_mode & 0o777 == 0o600
