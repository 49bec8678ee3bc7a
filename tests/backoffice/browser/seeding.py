"""What the pages of the browser tests show: people of every role, and half a year of a few members.

A program of its own, for it works on the stack that the browser looks at: `python -m ...seeding`.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import django

PASSWORD = "a long passphrase 1"
#: A second factor whose codes the tests can make.
SECRET = "3132333435363738393031323334353637383930"
OTHER = "M-200003"
MINJI, JUNHO, QUIET = "M-100234", "M-100877", "M-104410"
START = datetime.fromisoformat("2026-01-05T10:00:00+09:00")
#: The simulated clock ends here: 17 June 2026, noon in Seoul.
NOW = "2026-06-17T12:00:00+09:00"

PEOPLE = {
    "sora": "support",
    "leo": "support lead",
    "omar": "operator",
    "ada": "approver",
    "fina": "finance",
    "audra": "auditor",
    "locked": "support",
    "totp": "support",
}


def seed() -> None:
    from ledger import clock
    from tests.cutover.conftest import set_stage

    clock.set_simulated(instant=START)
    _people()
    _doubt()
    set_stage("NEW_ONLY")
    _members()
    _waiting()


def _people() -> None:
    from django.contrib.auth.models import Group, User
    from django_otp.plugins.otp_totp.models import TOTPDevice

    User.objects.create_superuser("root", password=PASSWORD)
    for name, role in PEOPLE.items():
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True, first_name=name.title())
        user.groups.add(Group.objects.get(name=role))
        if name == "totp":
            TOTPDevice.objects.create(user=user, name="authenticator", key=SECRET, confirmed=True)


def _doubt() -> None:
    """An operation of which the legacy cannot tell what became."""
    import pytest

    from cutover import face, intents
    from ledger.errors import OutcomeUnknown
    from tests.cutover.legacy_calls import lose_answer
    from tests.factories import EarnFactory

    command = EarnFactory(client_id=_client(), account_number="M-300001", points=30)
    with pytest.MonkeyPatch.context() as patch:
        lose_answer(patch, done=True)
        with suppress(OutcomeUnknown):
            face.execute(command)
    intents.doubt(
        operation_id=command.operation_id,
        why="2 new rows could be this operation.",
        evidence={"row_ids": ["1", "2"]},
        attempt=1,
    )


def _waiting() -> None:
    """What waits for somebody: a request, a file, and an order to assign accounts that was carried out."""
    from uuid import uuid4

    from django.contrib.auth.models import User

    from cutover.switching import Choice, assigning, ordering
    from pointsystem.backoffice.support import mass_grants
    from pointsystem.backoffice.support.confirming import confirm
    from tests.backoffice.support.people import grant_of

    confirm(move=grant_of(MINJI, 6_000), person=User.objects.get(username="sora"))
    rows = "".join(f"M-40000{number},{100 * number},EVENT\n" for number in range(1, 6))
    file = f"account_number,points,reason\n{rows}".encode()
    mass_grants.upload(file_name="summer.csv", content=file, person=User.objects.get(username="leo"))
    choice = Choice(accounts=("M-500001", "M-500002"))
    made = ordering.order(
        key=uuid4(),
        cohort="default",
        to="early",
        choice=choice,
        digest=assigning.plan(cohort="default", to="early", choice=choice).digest,
        actor="omar",
        reason="two of our own",
    )
    ordering.run(order_id=made.order.id)


def _members() -> None:
    from ledger import clock, face
    from tests.ledger.member import Member

    start = START

    def at(days: float) -> None:
        clock.set_simulated(instant=start + timedelta(days=days))

    at(0)
    minji, junho, quiet = _named(Member, MINJI), _named(Member, JUNHO), _named(Member, QUIET)
    others = [_named(Member, f"M-2{number:05d}") for number in range(5)]
    for month in range(6):
        for number, member in enumerate([minji, junho, *others]):
            at(month * 27 + number / 2)
            member.earns(1_200 + 310 * number + 90 * month, reference=f"order-{month}{number:02d}1")
            if month and number % 3 != 1:
                at(month * 27 + number / 2 + 0.3)
                member.spends(400 + 70 * number, reference=f"order-{month}{number:02d}2")
    at(150)
    quiet.earns(700, reason="REVIEW")
    spent = minji.spends(2_400, reference="order-90017")
    at(152)
    minji.cancels(spent, 900, reason="ORDER_CANCELLED")
    minji.earns(250, reason="REVIEW", reference="review-553")
    junho.earns(150, reason="EVENT", expires_at=start + timedelta(days=156))
    at(160)
    face.expire_points()
    clock.set_simulated(instant=datetime.fromisoformat(NOW))


def _named(member_type: Any, number: str) -> Any:
    member = member_type(client_id=_client())
    member.number = number
    return member


def _client() -> int:
    from ledger.models import Client

    return Client.objects.get_or_create(name="orders")[0].id


if __name__ == "__main__":
    django.setup()
    seed()
