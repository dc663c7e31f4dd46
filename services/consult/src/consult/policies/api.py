"""HTTP in: `/consults/policies/{hospital}` for operators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from consult.api.answers import answer
from consult.api.asking import asking
from consult.experts.usecases import Revised
from consult.policies.model import Policy
from consult.policies.usecases import HospitalPolicies
from imaging_common.auth import Claims, TokenVerifier
from imaging_common.http import Access, Problem, access
from imaging_common.ids import HospitalId


class RevisedPolicy(Policy):
    """A policy as it was seen; `revision` 0: the hospital has set none, and the region's counts."""

    revision: int = Field(ge=0)


def build_policies_api(policies: HospitalPolicies, verifier: TokenVerifier) -> APIRouter:
    """Each hospital's operators see and change their own, the region's all."""
    router = APIRouter(prefix="/consults/policies")
    who = Annotated[Claims, Depends(asking(verifier))]
    of = Annotated[HospitalId, Path()]

    @router.get("/{hospital}", openapi_extra=access(Access.HOSPITAL_OPERATOR), response_model_exclude_none=True)
    async def policy(hospital: of, claims: who) -> RevisedPolicy:
        """The hospital's own; what it left out, the region's own values fill."""
        revision, kept = await answer(policies.policy(claims, hospital))
        return RevisedPolicy(revision=revision, **kept.model_dump())

    @router.put("/{hospital}", openapi_extra=access(Access.HOSPITAL_OPERATOR), response_model_exclude_none=True)
    async def keep(hospital: of, body: RevisedPolicy, claims: who) -> RevisedPolicy:
        """Replace it, when nobody else has since."""
        new = Policy.model_validate(body.model_dump(exclude={"revision"}))
        try:
            revision, kept = await answer(policies.keep(claims, hospital, body.revision, new))
        except Revised as error:
            raise Problem(409, f"somebody else changed the policy of {hospital}; read it again") from error
        return RevisedPolicy(revision=revision, **kept.model_dump())

    return router
