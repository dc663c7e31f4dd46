"""Certificates name their hospital and AE titles; a request brings its key and nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from imaging_common import pki
from imaging_common.tls import names_of_pem


def request_of(key: object) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anybody")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def test_certificate_names_hospital_and_ae_titles() -> None:
    authority = pki.new_authority("region")
    key = pki.new_key()
    issued = authority.issue(key.public_key(), common_name="edge-tcm", hospital="tcm", ae_titles=["TCM", "TCM MV"])
    issued.verify_directly_issued_by(authority.certificate)
    names = names_of_pem(pki.certificate_pem(issued).decode())
    assert (names.hospital, names.ae_titles) == ("tcm", frozenset({"TCM", "TCM MV"}))
    assert names_of_pem(authority.pem.decode()).hospital == ""


def test_certificate_names_the_key_of_its_authority_as_the_authority_does() -> None:
    """Who made the authority may have derived its identifier otherwise (RFC 7093): OpenSSL finds it by this name."""
    own, name = pki.new_authority("region"), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    identifier = x509.SubjectKeyIdentifier(b"derived otherwise...")
    certificate = (
        x509.CertificateBuilder(name, name, own.key.public_key(), 4711)
        .not_valid_before(own.certificate.not_valid_before_utc)
        .not_valid_after(own.certificate.not_valid_after_utc)
        .add_extension(identifier, critical=False)
        .sign(own.key, hashes.SHA256())
    )
    issued = pki.Authority(certificate, own.key).issue(pki.new_key().public_key(), common_name="x")
    named = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert named.key_identifier == identifier.digest


def test_certificate_ends_with_its_authority() -> None:
    authority = pki.new_authority("region", timedelta(days=1))
    issued = authority.issue(pki.new_key().public_key(), common_name="x")
    assert issued.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_request_brings_its_key_and_nothing_else() -> None:
    key = pki.new_key()
    assert pki.public_key_of_request(request_of(key)) == key.public_key()
    for bad in (b"nonsense", request_of(rsa.generate_private_key(65537, 1024))):
        with pytest.raises(pki.BadRequest):
            pki.public_key_of_request(bad)


def test_authority_is_refused_when_its_files_do_not_belong_together(tmp_path: Path) -> None:
    one, other = pki.new_authority("one"), pki.new_authority("other")
    (tmp_path / "ca.pem").write_bytes(one.pem)
    (tmp_path / "ca.key").write_bytes(pki.key_pem(one.key))
    assert pki.load_authority(tmp_path / "ca.pem", tmp_path / "ca.key").pem == one.pem
    (tmp_path / "ca.key").write_bytes(pki.key_pem(other.key))
    with pytest.raises(pki.BadRequest):
        pki.load_authority(tmp_path / "ca.pem", tmp_path / "ca.key")
