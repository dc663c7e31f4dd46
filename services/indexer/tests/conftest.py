"""Makes manifests for the indexer's tests, without bytes."""

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from imaging_common.events import ManifestEntry, RejectedEntry, StudyAvailable
from imaging_common.objects.catalogue import Catalogue, CatalogueInstance
from imaging_common.objects.model import Manifest, StoredInstance, batch_key, collection_id, manifest_key, pack_key

STUDY = "1.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Maker:
    """Instances named by (number, variant of the header, variant of the pixels)."""

    study = STUDY

    def instance(self, number: int, header: str = "a", pixels: str = "p", series: int = 1) -> StoredInstance:
        return StoredInstance(
            sop_instance_uid=f"{STUDY}.{series}.{number}",
            sop_class_uid=CT,
            series_uid=f"{STUDY}.{series}",
            instance_number=number,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sha256=digest(f"{series}/{number}/{header}/{pixels}"),
            pixel_sha256=digest(f"{number}/{pixels}"),
            original_length=100,
            offset=0,
            length=100,
            header={
                "00080020": {"vr": "DA", "Value": ["20261120"]},
                "00080060": {"vr": "CS", "Value": ["CT" if series == 1 else "SR"]},
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": f"Wang^{header}", "Ideographic": "王^小东"}]},
                "00100020": {"vr": "LO", "Value": ["P-1"]},
                "00200011": {"vr": "IS", "Value": [series]},
                "00200013": {"vr": "IS", "Value": [number]},
            },
        )

    def batch(self, instances: Sequence[StoredInstance], hospital: str = "community", **fields: Any) -> Manifest:
        identity = collection_id([instance.sha256 for instance in instances])
        return Manifest(
            kind="batch",
            hospital=hospital,
            study_uid=STUDY,
            id=identity,
            data_key=batch_key(hospital, STUDY, identity),
            instances=list(instances),
            **fields,
        )

    def pack(self, instances: Sequence[StoredInstance], replaces: Sequence[Manifest] = ()) -> Manifest:
        identity = collection_id([instance.sha256 for instance in instances])
        return Manifest(
            kind="pack",
            hospital="community",
            study_uid=STUDY,
            id=identity,
            data_key=pack_key("community", STUDY, instances[0].series_uid, identity),
            instances=list(instances),
            replaces=[manifest_key(pack.data_key) for pack in replaces],
        )

    def cached(
        self, instances: Sequence[StoredInstance], retrieval: str = "r1", hospital: str = "tertiary"
    ) -> Manifest:
        identity = collection_id([retrieval, *(instance.sha256 for instance in instances)])
        key = batch_key(hospital, STUDY, identity)
        return Manifest(
            kind="batch", bucket="cache", hospital=hospital, study_uid=STUDY, id=identity, data_key=key,
            instances=list(instances),
        )  # fmt: skip

    def copy(self, stored: StoredInstance, variant: str) -> StoredInstance:
        """The same instance as the PACS gives it another time: other file bytes."""
        return stored.model_copy(update={"sha256": digest(f"{stored.sha256}/{variant}")})

    def catalogue(
        self, instances: Sequence[StoredInstance], number: int = 1, *, full: bool = True, hospital: str = "tertiary"
    ) -> Catalogue:
        brief = ("00200011", "00200013")
        return Catalogue(
            hospital=hospital,
            study_uid=STUDY,
            announcement=number,
            study={
                "00080020": {"vr": "DA", "Value": ["20261120"]},
                "00100010": instances[0].header["00100010"] if instances else {"vr": "PN"},
                "00100020": {"vr": "LO", "Value": ["P-1"]},
            },
            series=[
                {"0020000E": {"vr": "UI", "Value": [series]}, "00080060": {"vr": "CS", "Value": ["CT"]}}
                for series in sorted({instance.series_uid for instance in instances})
            ],
            instances=[
                CatalogueInstance(
                    sop_instance_uid=i.sop_instance_uid,
                    sop_class_uid=CT,
                    series_uid=i.series_uid,
                    instance_number=i.instance_number,
                    full=full,
                    header=i.header if full else {tag: i.header[tag] for tag in brief},
                )
                for i in instances
            ],
        )

    def note(self, rejected: Sequence[StoredInstance], code: str = "113001") -> StoredInstance:
        """A rejection note (IHE IOCM)."""
        references = [{"00081155": {"vr": "UI", "Value": [i.sop_instance_uid]}} for i in rejected]
        evidence = {
            "0020000D": {"vr": "UI", "Value": [STUDY]},
            "00081115": {"vr": "SQ", "Value": [{"00081199": {"vr": "SQ", "Value": references}}]},
        }
        title = {"00080100": {"vr": "SH", "Value": [code]}, "00080102": {"vr": "SH", "Value": ["DCM"]}}
        stored = self.instance(1, series=9)
        header = {**stored.header, "0040A043": {"vr": "SQ", "Value": [title]}}
        header["0040A375"] = {"vr": "SQ", "Value": [evidence]}
        return stored.model_copy(
            update={"header": header, "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.59", "pixel_sha256": None}
        )

    def announcement(
        self, instances: Sequence[StoredInstance], number: int = 1, rejected: Sequence[StoredInstance] = ()
    ) -> StudyAvailable:
        return StudyAvailable(
            study_uid=STUDY,
            announcement=number,
            basis="quiet",
            instances=[ManifestEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256) for i in instances],
            announced_at="2026-11-24T00:00:00Z",  # type: ignore[arg-type]
            rejected=[
                RejectedEntry(sop_instance_uid=i.sop_instance_uid, sha256=i.sha256, reason="C000") for i in rejected
            ],
        )


@pytest.fixture(scope="session")
def make() -> Maker:
    """The maker of manifests."""
    return Maker()
