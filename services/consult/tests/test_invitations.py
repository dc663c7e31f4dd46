"""Invitations: who may give one, what it opens, and that nothing is made twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from consult.adapters.fake_consults import FakeHospitalBook
from consult.errors import InvalidConsult, NotAllowed, NotFound
from consult.invitations.joiner import InvitationJoiner
from consult.invitations.mailing import InvitationMail, Links
from consult.invitations.model import Invite
from consult.invitations.store import FakeInvitationBook
from consult.invitations.usecases import Invitations
from consult.model import Action, Consult, State, TargetKind
from consult.usecases import Consults, Drafts
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.people import DirectoryUnavailable, FakeAccounts, FakeDirectory, Person
from imaging_common.people.accounts import NewAccount, names_of

from .conftest import Parts, make_parts
from .people import COORDINATOR, DOCTOR, EXPERT, LEVELS, OUTSIDER, PEOPLE, PROFESSOR, STRANGER, Desk, application

EMAIL = "jane@clinic.example"
PORTAL = "https://portal.example"
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)


class Accounts(FakeAccounts):
    """Accounts that the directory knows as soon as they are made; `away`: the provider takes no e-mail."""

    def __init__(self, directory: FakeDirectory) -> None:
        super().__init__()
        self.directory = directory
        self.away = False

    async def make(self, account: NewAccount) -> None:
        await super().make(account)
        person = Person(account.user, account.name, account.hospital, frozenset({account.role}), email=account.email)
        self.directory.people[account.user] = person

    async def send_link(self, user: str, ends_at: str, seconds: int) -> None:
        if self.away:
            raise DirectoryUnavailable("away")
        await super().send_link(user, ends_at, seconds)


class Region(Parts):
    """The service with invitations; `now` is its clock."""

    invitations: Invitations
    book: FakeInvitationBook
    accounts: Accounts
    mail: InvitationMail
    now: datetime


@pytest.fixture
def region() -> Region:
    parts = Region(**vars(make_parts()), now=NOW)
    directory, audit = FakeDirectory(*PEOPLE), AuditTrail("consult", parts.trail)
    hospitals = FakeHospitalBook(**LEVELS)
    parts.book, parts.accounts = FakeInvitationBook(), Accounts(directory)
    joiners = [InvitationJoiner(parts.book)]
    parts.consults = Consults(parts.store, hospitals, audit, directory, parts.policies, parts.access, joiners)
    parts.drafts = Drafts(parts.store, parts.consults)
    parts.desk = Desk(parts.consults, parts.drafts)
    links = Links(PORTAL, "outside", 3600)
    parts.mail = InvitationMail(parts.store, parts.book, parts.accounts, links, lambda: parts.now)
    parts.invitations = Invitations(
        parts.store, parts.consults, parts.book, parts.accounts, directory, hospitals, audit, parts.mail,
        lambda: parts.now,
    )  # fmt: skip
    return parts


async def invite(region: Region, claims: Claims, case: Consult, **told: Any) -> Any:
    asked = Invite.model_validate({"consult_id": case.id, "email": EMAIL, "name": "Jane Smith", **told})
    return await region.invitations.invite(claims, asked, "-")


async def above(region: Region) -> Consult:
    """A case that the professor has."""
    case = await region.desk.apply(consultant_hospital="tertiary")
    return await region.desk.do(PROFESSOR, case, Action.CLAIM)


async def test_case_of_the_last_level_goes_to_the_invited_expert_once(region: Region) -> None:
    case = await above(region)
    made = await invite(region, PROFESSOR, case, email="  JANE@Clinic.example ")
    again = await invite(region, PROFESSOR, case)
    assert again == made
    (child,) = [one for one in region.store.consults.values() if one.parent_id == case.id]
    assert (child.id, child.nominee, child.consultant_hospital) == (made.case_id, made.user, "outside")
    assert region.accounts.sent == [(made.user, f"{PORTAL}/portal/consults/{child.id}")]
    (account,) = region.accounts.made.values()
    assert (account.email, account.hospital, account.role, account.language) == (EMAIL, "outside", "expert", "zh")
    guest = Claims(made.user, "outside", frozenset({"expert"}), "Jane Smith")
    assert (await region.consults.get(guest, child.id)).nominee == made.user
    with pytest.raises(NotFound):
        await region.consults.get(guest, case.id)


async def test_address_is_in_no_event_no_case_and_no_record(region: Region) -> None:
    made = await invite(region, PROFESSOR, await above(region))
    told = [event.model_dump_json() for _, event, _ in region.store.sent]
    told += [event.model_dump_json() for _, event, *_ in region.trail.published]
    told += [case.model_dump_json() for case in region.store.consults.values()]
    told += [made.model_dump_json(), *region.book.accounts, *region.book.given, made.user]
    assert not [text for text in told if "jane" in text.lower() and "Jane Smith" not in text]
    assert not [text for text in told if EMAIL in text]


async def test_expert_below_the_last_level_invites_to_an_opinion(region: Region) -> None:
    case = await region.desk.to(State.READING)
    with pytest.raises(InvalidConsult, match="does not leave the region"):
        await invite(region, EXPERT, case, part="case")
    made = await invite(region, COORDINATOR, case, question="活检？")
    panel = region.store.consults[case.id].panel
    assert [(one.user, one.hospital, one.question) for one in panel] == [(made.user, "outside", "活检？")]
    assert made.case_id == case.id
    other = await invite(region, EXPERT, await region.desk.to(State.READING))
    assert (other.user, len(region.accounts.made)) == (made.user, 1)
    assert [one.excused for one in region.store.consults[case.id].panel] == [False]


@pytest.mark.parametrize("claims", [DOCTOR, STRANGER, OUTSIDER])
async def test_case_is_opened_by_who_has_it_alone(region: Region, claims: Claims) -> None:
    case = await region.desk.to(State.READING)
    with pytest.raises((NotAllowed, NotFound)):
        await invite(region, claims, case)
    assert (region.accounts.made, region.accounts.sent) == ({}, [])
    assert '"outcome":"denied"' in region.trail.published[-1][1].model_dump_json()


async def test_nobody_is_invited_to_a_case_that_has_ended(region: Region) -> None:
    case = await region.desk.to(State.ISSUED)
    with pytest.raises(InvalidConsult, match="issued"):
        await invite(region, EXPERT, case)


async def test_applicant_names_an_invited_expert_who_hears_of_it_when_it_is_submitted(region: Region) -> None:
    empty = application(target_kind=TargetKind.EXPERT, consultant_hospital="outside", nominee="")
    case = await region.consults.apply(DOCTOR, empty, None, token="-", draft=True)
    made = await invite(region, DOCTOR, case)
    await region.mail.send_due()
    draft = region.store.consults[case.id]
    assert (draft.nominee, draft.target_kind, region.accounts.sent) == (made.user, TargetKind.EXPERT, [])
    case = await region.desk.do(DOCTOR, draft, Action.SUBMIT)
    assert case.by_name
    assert case.submitted_at
    region.now = case.submitted_at
    assert await region.mail.send_due() == 1
    assert await region.mail.send_due() == 0
    assert region.accounts.sent == [(made.user, f"{PORTAL}/portal/consults/{case.id}")]


async def test_email_that_the_provider_does_not_take_is_sent_later(region: Region) -> None:
    region.accounts.away = True
    made = await invite(region, PROFESSOR, await above(region))
    assert (made.mailed_at, region.accounts.sent) == (None, [])
    region.accounts.away = False
    assert await region.mail.send_due() == 0
    region.now += timedelta(minutes=2)
    assert await region.mail.send_due() == 1
    assert [user for user, _ in region.accounts.sent] == [made.user]


async def test_link_is_sent_again_when_the_last_one_is_no_good_any_more(region: Region) -> None:
    case = await above(region)
    made = await invite(region, PROFESSOR, case)
    region.now += timedelta(minutes=59)
    await invite(region, PROFESSOR, case)
    assert len(region.accounts.sent) == 1
    region.now += timedelta(minutes=2)
    await invite(region, PROFESSOR, case)
    assert len(region.accounts.sent) == 2
    region.accounts.passwords.add(made.user)
    region.now += timedelta(days=1)
    await invite(region, PROFESSOR, case)
    assert len(region.accounts.sent) == 2


async def test_expert_of_the_hospital_outside_keeps_their_account(region: Region) -> None:
    known = Person("expert.outside", "林文博", "outside", frozenset({"expert"}), email=EMAIL)
    region.accounts.directory.people[known.user] = known
    region.accounts.passwords.add(known.user)
    made = await invite(region, PROFESSOR, await above(region))
    assert (made.user, region.accounts.made, region.accounts.sent) == ("expert.outside", {}, [])


async def test_address_of_somebody_of_the_region_is_refused(region: Region) -> None:
    await region.accounts.make(NewAccount("doctor.x", "陈", EMAIL, "community", "doctor"))
    with pytest.raises(InvalidConsult, match="has this address already"):
        await invite(region, PROFESSOR, await above(region))


@pytest.mark.parametrize(
    "told",
    [
        {"email": "no address"},
        {"email": "a@b"},
        {"email": "a@b.example\nBcc: x@y.example"},
        {"email": f"{'a' * 300}@b.example"},
        {"name": ""},
        {"name": "<b>Jane</b>"},
        {"language": "fr"},
    ],
)
def test_invitation_that_does_not_fit_is_refused(told: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Invite.model_validate({"consult_id": "x", "email": EMAIL, "name": "Jane", **told})


def test_names_are_taken_apart_as_they_are_put_together() -> None:
    assert [names_of(name) for name in ("林文博", "Jane van Smith", "Jane")] == [
        ("文博", "林"),
        ("Jane van", "Smith"),
        ("", "Jane"),
    ]
