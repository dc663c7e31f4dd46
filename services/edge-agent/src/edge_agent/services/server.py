"""The acceptor of the services AE: what it offers, and which service answers which message."""

import socket
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext
from pynetdicom.sop_class import (
    InstanceAvailabilityNotification,
    ModalityWorklistInformationFind,
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from edge_agent.services.commitment import CommitmentService
from edge_agent.services.find import FindService, Result
from edge_agent.services.notices import NoticeService
from edge_agent.services.retrieve import RetrieveService
from edge_agent.services.worklist import WorklistService
from imaging_common.dicom.association import HardenedServer, make_ae
from imaging_common.dicom.contexts import transfer_syntaxes
from imaging_common.dicom.sinks import StoreRequest
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
MESSAGES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]
"""Explicit and Implicit VR Little Endian."""
SOP_CLASS_NOT_SUPPORTED = 0x0122
RETRIEVALS = frozenset(
    {
        PatientRootQueryRetrieveInformationModelMove,
        PatientRootQueryRetrieveInformationModelGet,
        StudyRootQueryRetrieveInformationModelMove,
        StudyRootQueryRetrieveInformationModelGet,
    }
)
OTHERS = (
    Verification,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    InstanceAvailabilityNotification,
)


def services_contexts() -> list[PresentationContext]:
    """Presentation contexts; storage ones are for C-GET, where the requestor takes the SCP role (PS3.4 C.5.3)."""
    contexts = [build_context(uid, MESSAGES) for uid in (*OTHERS, *sorted(RETRIEVALS))]
    for offered in AllStoragePresentationContexts:
        context = build_context(offered.abstract_syntax, transfer_syntaxes())
        context.scu_role, context.scp_role = False, True
        contexts.append(context)
    return contexts


class ServicesAssociation(Association):  # type: ignore[misc]
    """Has C-MOVE and C-GET served by `RetrieveService` in place of pynetdicom's own service class."""

    _server: "ServicesServer"

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        mine = isinstance(msg, C_MOVE | C_GET) and context is not None and context.abstract_syntax in RETRIEVALS
        if not mine or not msg.is_valid_request or self._sent_release:
            super()._serve_request(msg, context_id)
        else:
            self._retrieve(msg, context)
        if self.is_established:
            self.dul._idle_timer.restart()  # the peer was waiting for us, not idle

    def _retrieve(self, msg: Any, context: Any) -> None:
        self.dimse.cancel_req = {}
        self._is_paused = True
        try:
            self._server.retrieve.serve(self, msg, context)
        except Exception as error:
            _log.error("retrieval-failed", error=type(error).__name__)
            self.abort()
        finally:
            self._is_paused = False
            self.dimse.cancel_req = {}


class ServicesServer(HardenedServer):
    """The acceptor."""

    association_class = ServicesAssociation
    retrieve: RetrieveService


class _Nothing:
    """C-STORE belongs to the agent's other port: what is sent here is read and dropped."""

    def __init__(self, _: StoreRequest) -> None:
        pass

    def write(self, fragment: bytes) -> None:
        """See `DataSink`."""

    def discard(self) -> None:
        """See `DataSink`."""


def build_services_server(
    ae_title: str,
    max_associations: int,
    listener: socket.socket,
    allow: Callable[[str, str], bool],
    *,
    find: FindService,
    retrieve: RetrieveService,
    worklist: WorklistService,
    commitment: CommitmentService,
    notices: NoticeService,
    tls: Mapping[str, Any] = MappingProxyType({}),
) -> ServicesServer:
    """Put it together; `tls`: see `edge_agent.peers.tls_options`."""

    def on_find(event: Any) -> Iterator[Result]:
        if event.context.abstract_syntax == ModalityWorklistInformationFind:
            return worklist.find(event)
        return find.find(event)

    server = ServicesServer(
        make_ae(ae_title, max_associations),
        listener,
        allow,
        _Nothing,
        [
            (evt.EVT_C_FIND, on_find),
            (evt.EVT_N_ACTION, commitment.request),
            (evt.EVT_N_CREATE, notices.notify),
            (evt.EVT_C_STORE, lambda _: SOP_CLASS_NOT_SUPPORTED),
        ],
        contexts=services_contexts(),
        **tls,
    )
    server.retrieve = retrieve
    return server
