"""HTTP in: the gateway and other systems call it with the user's own token."""

from collections.abc import Sequence

from fastapi import APIRouter

from consult.api.answers import answer, problem_of
from consult.api.asking import ConsultId, asking, token_of
from consult.api.cases import build_cases_api, build_lists_api
from consult.api.drafts import build_drafts_api
from consult.icd10 import build_icd10_api
from consult.usecases import Consults, Drafts
from imaging_common.auth import TokenVerifier

__all__ = ["ConsultId", "answer", "asking", "build_api", "problem_of", "token_of"]


def build_api(
    consults: Consults, drafts: Drafts, verifier: TokenVerifier, parts: Sequence[APIRouter] = ()
) -> APIRouter:
    """All of `/consults`; the routers of the other parts (`parts`) come before `/{consult_id}`."""
    router = APIRouter()
    for part in (
        build_lists_api(consults, verifier),
        build_icd10_api(verifier),
        *parts,
        build_drafts_api(drafts, verifier),
        build_cases_api(consults, verifier),
    ):
        router.include_router(part)
    return router
