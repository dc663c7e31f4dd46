"""C-MOVE and C-GET (PS3.4 C.4.2, C.4.3): objects of the region for the hospital's workstations.

pynetdicom's own service keeps each object in memory and is silent while it waits; this one sends files, keeps the peer
informed while the region fetches from a holder, and looks for C-CANCEL all the time.
"""

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext

from edge_agent.errors import IdentifierRefused, RegionRefused, RegionUnavailable
from edge_agent.services.coercion import Coercion
from edge_agent.services.fetching import Fetched, Fetcher, Files
from edge_agent.services.identifiers import read_identifier
from edge_agent.services.objects import coerce_file
from edge_agent.services.query import Group, RegionQuery, TooManyMatches
from edge_agent.services.sending import FAILED, Destination, Origin, send, throttle
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
PENDING, SUCCESS, WARNING, CANCELLED = 0xFF00, 0x0000, 0xB000, 0xFE00
NO_COUNT, NO_SUBOPERATIONS, UNKNOWN_DESTINATION, NO_MATCHING_IDENTIFIER = 0xA701, 0xA702, 0xA801, 0xA900
SIGN_OF_LIFE_SECONDS = 5.0
Peer = tuple[str, str, int]
"""AE title, host, port."""


class Progress:
    """The numbers of a retrieval's sub-operations, told to who asked."""

    def __init__(self, association: Association, request: C_MOVE | C_GET, context: PresentationContext) -> None:
        self._association = association
        self._request = request
        self._context = context
        self.remaining = self.completed = self.failed = self.warning = 0
        self._failed_uids: list[str] = []

    def count(self, sop_instance_uid: str, status: int) -> None:
        """One sub-operation ended."""
        self.remaining -= 1
        if status == SUCCESS:
            self.completed += 1
        elif 0xB000 <= status <= 0xBFFF or status in (0x0001, 0x0107, 0x0116):
            self.warning += 1
        else:
            self.failed += 1
            self._failed_uids.append(sop_instance_uid)

    def pending(self) -> None:
        """Say how far it is."""
        response = self._response(PENDING)
        response.NumberOfRemainingSuboperations = self.remaining
        self._send(response)

    def end(self) -> None:
        """Say how it ended."""
        total = self.completed + self.failed + self.warning
        if not self.failed and not self.warning:
            self.final(SUCCESS)
        else:
            self.final(NO_SUBOPERATIONS if self.failed == total else WARNING)

    def final(self, status: int, comment: str = "") -> None:
        """The last response; Error Comment (0000,0902) is a LO."""
        response = self._response(status)
        if comment:
            response.ErrorComment = comment[:64]
        if status == CANCELLED:
            response.NumberOfRemainingSuboperations = self.remaining
        if self._failed_uids and status != SUCCESS:
            identifier = Dataset()
            identifier.FailedSOPInstanceUIDList = self._failed_uids
            syntax = self._context.transfer_syntax[0]
            encoded = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            response.Identifier = BytesIO(encoded)
        self._send(response)

    def _response(self, status: int) -> Any:
        response = type(self._request)()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        response.AffectedSOPClassUID = self._request.AffectedSOPClassUID
        response.Status = status
        response.NumberOfCompletedSuboperations = self.completed
        response.NumberOfFailedSuboperations = self.failed
        response.NumberOfWarningSuboperations = self.warning
        return response

    def _send(self, response: Any) -> None:
        self._association.dimse.send_msg(response, self._context.context_id)


class RetrieveService:
    """Serves C-MOVE and C-GET.

    Parameters
    ----------
    workstations
        AE title → (AE title, host, port): where a C-MOVE may send.
    """

    def __init__(
        self,
        query: RegionQuery,
        region: Files,
        coercion: Coercion,
        ae_title: str,
        workstations: Mapping[str, Peer],
    ) -> None:
        self._query = query
        self._region = region
        self._coercion = coercion
        self._ae_title = ae_title
        self._workstations = workstations

    def serve(self, association: Association, request: C_MOVE | C_GET, context: PresentationContext) -> None:
        """Answer a request, to its end."""
        progress = Progress(association, request, context)
        peer: Peer | None = None
        if isinstance(request, C_MOVE):
            peer = self._workstations.get(str(request.MoveDestination or "").strip())
            if peer is None:
                progress.final(UNKNOWN_DESTINATION, "this destination is not among the workstations")
                return
        groups = self._planned(request, context, progress)
        if groups is None:
            return
        progress.remaining = sum(len(group.wanted) for group in groups)
        _log.info("retrieval-begins", kind=type(request).__name__, instances=progress.remaining)
        if peer is None:
            socket = association.dul.socket
            throttle(association, getattr(socket, "wake", lambda: None))
            self._transfer(association, request, progress, groups, self._over(association))
            return
        wanted = [one for group in groups for one in group.wanted.values()]
        expected = {(one.sop_class_uid, one.transfer_syntax_uid) for one in wanted if one.sop_class_uid}
        destination = Destination(self._ae_title, peer, expected)
        origin = Origin(str(association.requestor.ae_title).strip(), int(request.MessageID))
        try:
            self._transfer(
                association, request, progress, groups, lambda path, number: destination.send(path, number, origin)
            )
        finally:
            destination.close()

    def _planned(self, request: C_MOVE | C_GET, context: PresentationContext, progress: Progress) -> list[Group] | None:
        syntax = context.transfer_syntax[0]
        patient_root = ".1.2.1." in str(context.abstract_syntax)
        try:
            identifier = decode(request.Identifier, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            question = read_identifier(identifier, patient_root=patient_root, retrieve=True)
            return self._query.plan(question)
        except IdentifierRefused as error:
            progress.final(NO_MATCHING_IDENTIFIER, str(error))
        except TooManyMatches:
            progress.final(NO_COUNT, "more instances than can be counted")
        except (RegionUnavailable, RegionRefused) as error:
            progress.final(NO_COUNT, str(error))
        except Exception as error:
            _log.error("identifier-not-read", error=type(error).__name__)
            progress.final(NO_MATCHING_IDENTIFIER, "the identifier cannot be read")
        return None

    def _transfer(
        self,
        association: Association,
        request: C_MOVE | C_GET,
        progress: Progress,
        groups: list[Group],
        send_file: Callable[[Any, int], int],
    ) -> None:
        fetcher = Fetcher(self._region, groups)
        number, told = int(request.MessageID), time.monotonic()
        try:
            while not _gone(association):
                if request.MessageID in association.dimse.cancel_req:
                    progress.final(CANCELLED)
                    return
                try:
                    fetched = fetcher.next(0.5)
                except queue.Empty:
                    if time.monotonic() - told >= SIGN_OF_LIFE_SECONDS:
                        progress.pending()
                        told = time.monotonic()
                    continue
                if fetched is None:
                    progress.end()
                    return
                number = number % 65535 + 1
                progress.count(fetched.wanted.sop_instance_uid, self._store(fetched, number, send_file))
                if progress.remaining and not _gone(association):
                    progress.pending()
                    told = time.monotonic()
        finally:
            fetcher.stop()

    def _store(self, fetched: Fetched, number: int, send_file: Callable[[Any, int], int]) -> int:
        path = fetched.path
        if path is None:
            return FAILED
        coerced = path
        try:
            coerced = coerce_file(path, fetched.wanted.owner, self._coercion, self._ae_title)
            return send_file(coerced, number)
        except Exception as error:
            _log.error("sub-operation-failed", error=type(error).__name__)
            return FAILED
        finally:
            for file in {path, coerced}:
                with suppress(OSError):
                    file.unlink(missing_ok=True)

    @staticmethod
    def _over(association: Association) -> Callable[[Any, int], int]:
        return lambda path, number: FAILED if _gone(association) else send(association, path, number)


def _gone(association: Association) -> bool:
    return not association.is_established or association.acse.is_aborted() or not association.dul.is_alive()
