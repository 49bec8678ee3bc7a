"""From an uploaded file to a confirmed mass grant."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from pointsystem.backoffice import audit
from pointsystem.backoffice.support import grant_files, granting, requests
from pointsystem.backoffice.support.confirming import note_confirmed
from pointsystem.backoffice.support.models import (
    ApprovalRequest,
    MassGrant,
    MassGrantRow,
    MassGrantState,
    MoveKind,
)
from pointsystem.backoffice.support.moves import Move

_MOST_NAME_CHARACTERS: Final = 200


class NotYours(Exception):
    """Only who uploaded a file confirms or drops it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The mass grant after its confirmation, with the request that it waits for, if it does."""

    mass_grant: MassGrant
    request: ApprovalRequest | None


def upload(*, file_name: str, content: bytes, person: User, request: HttpRequest | None = None) -> MassGrant:
    """Read a file and keep its rows for the preview; nothing is granted. Raises grant_files.FileRefused."""
    found = grant_files.read(content=content)
    with transaction.atomic():
        mass_grant = MassGrant.objects.create(
            file_name=file_name[:_MOST_NAME_CHARACTERS],
            digest=found.digest,
            rows_total=len(found.rows),
            points_total=found.points,
            key=uuid4(),
            author=person,
            uploaded_at=timezone.now(),
        )
        MassGrantRow.objects.bulk_create(
            (
                MassGrantRow(
                    mass_grant=mass_grant,
                    line=row.line,
                    account_number=row.account_number,
                    points=row.points,
                    reason=row.reason,
                    reference=row.reference,
                    has_expiry=row.has_expiry,
                    expires_at=row.expires_at,
                )
                for row in found.rows
            ),
            batch_size=1000,
        )
        audit.record(
            action="mass_grant.uploaded",
            subject_kind="mass_grant",
            subject_id=mass_grant.id,
            after=_facts(mass_grant),
            request=request,
            person=person,
        )
    return mass_grant


def confirmed_before(*, mass_grant: MassGrant) -> MassGrant | None:
    """The latest other mass grant of the same rows that was confirmed: confirming again grants nothing."""
    return (
        MassGrant.objects.filter(digest=mass_grant.digest, confirmed_at__isnull=False)
        .exclude(id=mass_grant.id)
        .order_by("-id")
        .first()
    )


def needs_second_person(mass_grant: MassGrant) -> bool:
    return mass_grant.points_total > settings.POINTS_APPROVAL_LIMIT


def confirm(*, mass_grant_id: int, note: str, person: User, request: HttpRequest | None = None) -> Started:
    """Let it run, or ask a second person; once, however often it is confirmed.

    Raises NotYours, MassGrant.DoesNotExist, and IdempotencyKeyReused for another note than the first time.
    """
    with transaction.atomic():
        mass_grant = MassGrant.objects.select_for_update(of=("self",)).get(id=mass_grant_id)
        if mass_grant.author_id != person.pk:
            raise NotYours
        asked = None
        if mass_grant.state == MassGrantState.PREVIEWED:
            move = _move(mass_grant, note=note)
            note_confirmed(move=move, person=person, request=request)
            MassGrant.objects.filter(id=mass_grant.id).update(confirmed_at=timezone.now())
            if needs_second_person(mass_grant):
                MassGrant.objects.filter(id=mass_grant.id).update(state=MassGrantState.WAITING)
                asked = requests.ask(move=move, author=person, request=request)
            else:
                granting.start(mass_grant_id=mass_grant.id)
        else:
            asked = ApprovalRequest.objects.filter(confirmation_id=mass_grant.key).first()
    mass_grant.refresh_from_db()
    return Started(mass_grant=mass_grant, request=asked)


def drop(*, mass_grant_id: int, person: User, request: HttpRequest | None = None) -> bool:
    """Give up a file that was not confirmed; False when it was. Raises NotYours, MassGrant.DoesNotExist."""
    with transaction.atomic():
        mass_grant = MassGrant.objects.select_for_update(of=("self",)).get(id=mass_grant_id)
        if mass_grant.author_id != person.pk:
            raise NotYours
        if mass_grant.state != MassGrantState.PREVIEWED:
            return False
        MassGrant.objects.filter(id=mass_grant_id).update(state=MassGrantState.DROPPED)
        audit.record(
            action="mass_grant.dropped",
            subject_kind="mass_grant",
            subject_id=mass_grant_id,
            before=_facts(mass_grant),
            request=request,
            person=person,
        )
    return True


def _move(mass_grant: MassGrant, *, note: str) -> Move:
    return Move(
        kind=MoveKind.MASS_GRANT,
        key=mass_grant.key,
        account_number=str(mass_grant.id),
        points=mass_grant.points_total,
        note=note,
    )


def _facts(mass_grant: MassGrant) -> dict[str, object]:
    return {
        "file_name": mass_grant.file_name,
        "digest": mass_grant.digest,
        "rows": mass_grant.rows_total,
        "points": mass_grant.points_total,
    }
