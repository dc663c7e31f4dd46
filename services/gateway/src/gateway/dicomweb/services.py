"""What the DICOMweb resources share: one object per gateway process, made by `build_dicomweb_router`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request

from gateway.dicomweb.access import OpenStudy, StudyDoor
from gateway.dicomweb.conversion import FrameSource
from gateway.dicomweb.decoder import Decoder
from gateway.dicomweb.frames import FrameReader
from gateway.dicomweb.locations import Locations
from gateway.dicomweb.metadata import MetadataSource
from gateway.dicomweb.rendered import Renderer
from gateway.dicomweb.standins import StandIns
from gateway.dicomweb.use import StudyUse
from gateway.retrievals.retriever import Retriever
from imaging_common.access import Subject
from imaging_common.audit import Action, AuditTrail
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import EventPublisher
from imaging_common.objects.store import ObjectStore

SubjectOf = Callable[[Request], Awaitable[Subject]]


@dataclass(frozen=True, slots=True)
class Services:
    """The index, the bytes, the door, and what is built on them."""

    index: StudyIndex
    store: ObjectStore
    subject_of: SubjectOf
    door: StudyDoor
    locations: Locations
    stand_ins: StandIns
    frames: FrameSource
    decoder: Decoder
    metadata: MetadataSource
    renderer: Renderer
    use: StudyUse

    @classmethod
    def build(
        cls,
        index: StudyIndex,
        store: ObjectStore,
        subject_of: SubjectOf,
        audit: AuditTrail,
        retriever: Retriever | None = None,
        publisher: EventPublisher | None = None,
    ) -> "Services":
        """Connect them."""
        locations = Locations(index, retriever)
        decoder = Decoder()
        frames = FrameSource(index, store, locations, FrameReader(store, locations), decoder)
        return cls(
            index=index,
            store=store,
            subject_of=subject_of,
            door=StudyDoor(index, audit),
            locations=locations,
            stand_ins=StandIns(index, locations),
            frames=frames,
            decoder=decoder,
            metadata=MetadataSource(index),
            renderer=Renderer(frames),
            use=StudyUse(publisher),
        )

    async def open(
        self,
        request: Request,
        study_uid: str,
        *,
        fresh: bool = True,
        action: Action = "view",
        used: bool = True,
        preview: bool = False,
    ) -> OpenStudy:
        """Who asks, and whether they may: 401, 404, or the study.

        `used`: it counts as looked at, so its bytes stay at hand; `preview`: see `StudyDoor.open`.
        """
        subject = await self.subject_of(request)
        holder = request.path_params.get("holder")
        opened = await self.door.open(subject, study_uid, holder, action=action, fresh=fresh, preview=preview)
        if used:
            await self.use.tell(opened)
        return opened


def root_of(request: Request) -> str:
    """The path of this DICOMweb root, holder-scoped or not, as the client sees it: no scheme, no host."""
    prefix = str(request.scope.get("root_path", ""))
    path = request.url.path
    holder = request.path_params.get("holder")
    if holder is not None:
        return path.partition(f"/hospitals/{holder}")[0] + f"/hospitals/{holder}"
    inner = path.removeprefix(prefix)
    heads = [inner.partition(resource)[0] for resource in ("/studies", "/series", "/instances") if resource in inner]
    return prefix + min(heads, key=len, default=inner)
