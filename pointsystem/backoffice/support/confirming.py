"""Doing what a form says: noted once for its key, then given to the side that decides.

A double click, the back button and a reload all come here with the same key: the second finds what the first
one did.
"""

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger.database import raise_refusal
from ledger.door import face
from ledger.errors import IdempotencyKeyReused, ValidationRefused
from ledger.records import Outcome
from pointsystem.backoffice import audit
from pointsystem.backoffice.support import requests
from pointsystem.backoffice.support.models import ApprovalRequest, Confirmation, MoveKind
from pointsystem.backoffice.support.moves import STATUS_OF, Move, command_of, needs_second_person


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """What a confirmed form came to: an operation, a request that waits, or a changed status."""

    outcome: Outcome | None = None
    request: ApprovalRequest | None = None
    #: The same form had been confirmed before.
    is_repeated: bool = False


def confirm(*, move: Move, person: User, request: HttpRequest | None = None) -> Confirmed:
    """Do what the form says, or ask a second person where it is above the limit; once for its key.

    Raises IdempotencyKeyReused for the same form with other values, and the refusals of `face().execute`:
    then nothing was moved, or it is found out, as each of them says.
    """
    if move.kind in STATUS_OF:
        return _change_status(move, person=person, request=request)
    try:
        with transaction.atomic():
            is_repeated = not note_confirmed(move=move, person=person, request=request)
            if not is_repeated and needs_second_person(move):
                return Confirmed(request=requests.ask(move=move, author=person, request=request))
    except DatabaseError as error:
        raise_refusal(error)
    if is_repeated:
        waiting = ApprovalRequest.objects.filter(confirmation_id=move.key).first()
        if waiting is not None:
            return Confirmed(request=waiting, is_repeated=True)
    outcome = face().execute(command_of(move, actor=person.get_username()))
    return Confirmed(outcome=outcome, is_repeated=is_repeated or outcome.is_replayed)


def _change_status(move: Move, *, person: User, request: HttpRequest | None) -> Confirmed:
    """Status rows have no key in the ledger: the confirmation in their own transaction is theirs."""
    try:
        with transaction.atomic():
            if not note_confirmed(move=move, person=person, request=request):
                return Confirmed(is_repeated=True)
            face().change_account_status(
                account_number=move.account_number,
                status=STATUS_OF[move.kind],
                note=f"{move.reference}: {move.note}" if move.reference else move.note,
                actor=person.get_username(),
            )
    except ValueError as error:
        raise ValidationRefused(
            field="status", field_code="closed", detail=_("A closed account stays closed.")
        ) from error
    except DatabaseError as error:
        raise_refusal(error)
    return Confirmed()


def note_confirmed(*, move: Move, person: User, request: HttpRequest | None) -> bool:
    """Keep that the form was confirmed, with its audit entry, in the caller's transaction.

    False when it had been, by this person with the same values. Raises IdempotencyKeyReused for other ones.
    """
    payload = move.to_json()
    with connection.cursor() as cursor:
        # A double click: the second one waits here until the first has committed.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"form {move.key}"])
    known = Confirmation.objects.filter(key=move.key).first()
    if known is not None:
        if known.payload != payload or known.person_id != person.pk:
            raise IdempotencyKeyReused(_("Nothing was done now."))
        return False
    Confirmation.objects.create(
        key=move.key,
        kind=move.kind,
        account_number=move.account_number,
        payload=payload,
        note=move.note,
        person=person,
        confirmed_at=timezone.now(),
    )
    audit.record(
        action=f"account.{move.kind.value}" if move.kind != MoveKind.MASS_GRANT else "mass_grant.confirmed",
        subject_kind="account" if move.kind != MoveKind.MASS_GRANT else "mass_grant",
        subject_id=move.account_number,
        reason=f"{move.reason or ''} {move.note}".strip(),
        after=payload,
        request=request,
        person=person,
    )
    return True
