"""Amounts above the limit wait for a second person; what was approved is done with its original key.

A request is decided once, under a lock on its row. What it asks for is done after that commit, under the
stage that is in force then: a process that dies in between leaves it `approved`, and the sweeper does it.
"""

from datetime import timedelta
from typing import Final

import structlog
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger.door import face
from ledger.errors import DatabaseUnavailable, Refusal
from pointsystem.backoffice import audit
from pointsystem.backoffice.support import granting
from pointsystem.backoffice.support.models import ApprovalRequest, MassGrant, MoveKind, RequestState
from pointsystem.backoffice.support.moves import Move, command_of
from pointsystem.backoffice.support.words import refusal_to_keep

log = structlog.get_logger(__name__)

WAITS: Final = timedelta(days=7)
#: How long after an attempt the sweeper tries again.
TRIES_AGAIN_AFTER: Final = timedelta(seconds=10)
_SWEPT_AT_ONCE: Final = 50


class RequestRefused(Exception):
    """This request cannot be decided so; the message says why, for people."""


class AlreadyDecided(RequestRefused):
    """Somebody was faster, or it expired."""


class NotTheAuthor(RequestRefused):
    """Only whoever asked takes a request back."""


class SecondPersonNeeded(RequestRefused):
    """Whoever asked cannot approve."""


def ask(*, move: Move, author: User, request: HttpRequest | None = None) -> ApprovalRequest:
    """Keep a confirmed form as a request, in the caller's transaction. Raises ValueError for a move that
    moves no points."""
    if move.points is None:
        raise ValueError(f"{move.kind} needs no second person")
    now = timezone.now()
    asked = ApprovalRequest.objects.create(
        confirmation_id=move.key, points=move.points, author=author, asked_at=now, expires_at=now + WAITS
    )
    _record(asked, "asked", person=author, request=request, note=move.note)
    return asked


def approve(
    *, request_id: int, person: User, note: str = "", request: HttpRequest | None = None
) -> ApprovalRequest:
    """Approve, and do it. Raises AlreadyDecided, SecondPersonNeeded, ApprovalRequest.DoesNotExist.

    What the deciding side refuses is the outcome of the request; what a retry may change is tried again.
    """
    _decide(request_id, RequestState.APPROVED, person=person, note=note, request=request)
    return perform(request_id=request_id)


def reject(
    *, request_id: int, person: User, note: str, request: HttpRequest | None = None
) -> ApprovalRequest:
    """Say no, with a reason. Raises AlreadyDecided, SecondPersonNeeded, RequestRefused without a reason."""
    if not note.strip():
        raise RequestRefused(_("Say why it is rejected."))
    return _decide(request_id, RequestState.REJECTED, person=person, note=note, request=request)


def withdraw(
    *, request_id: int, person: User, note: str = "", request: HttpRequest | None = None
) -> ApprovalRequest:
    """Take back what one asked for oneself, while nobody has decided. Raises AlreadyDecided, NotTheAuthor."""
    return _decide(request_id, RequestState.WITHDRAWN, person=person, note=note, request=request)


def _decide(
    request_id: int, state: RequestState, *, person: User, note: str, request: HttpRequest | None
) -> ApprovalRequest:
    """One end for a request that waits, under a lock on its row: whoever comes second is told."""
    with transaction.atomic():
        asked = ApprovalRequest.objects.select_for_update(of=("self",)).get(id=request_id)
        _refuse_person(asked, state, person)
        has_expired = asked.state == RequestState.WAITING and asked.expires_at <= timezone.now()
        if not has_expired and asked.state != RequestState.WAITING:
            raise AlreadyDecided(_("The request has ended already: %s.") % asked.get_state_display())
        if not has_expired:
            asked.state, asked.decision_note, asked.decided_at = state, note, timezone.now()
            # Its author decides nothing: who withdrew it is who asked.
            asked.decided_by = None if state == RequestState.WITHDRAWN else person
            asked.save(update_fields=["state", "decided_by", "decision_note", "decided_at"])
            _record(asked, state.value, person=person, request=request, note=note)
            _drop_mass_grant(asked)
    if has_expired:
        expire()
        raise AlreadyDecided(_("The request has expired."))
    return asked


def _refuse_person(asked: ApprovalRequest, state: RequestState, person: User) -> None:
    """Raises SecondPersonNeeded and NotTheAuthor."""
    is_author = asked.author_id == person.pk
    if state == RequestState.WITHDRAWN and not is_author:
        raise NotTheAuthor(_("Only its author can withdraw it."))
    if state != RequestState.WITHDRAWN and is_author:
        raise SecondPersonNeeded(_("Somebody else than its author has to decide."))


def perform(*, request_id: int) -> ApprovalRequest:
    """Do what was approved, once for its key, however often this is called."""
    asked = ApprovalRequest.objects.select_related("confirmation", "decided_by").get(id=request_id)
    if asked.state != RequestState.APPROVED:
        return asked
    if asked.confirmation.kind == MoveKind.MASS_GRANT:
        return _start_mass_grant(asked)
    move = Move.from_json(asked.confirmation.payload)
    try:
        outcome = face().execute(command_of(move, actor=asked.author.get_username()))
    except Refusal as refusal:
        # Another try may end otherwise; and the database may have done it before it went away.
        is_final = refusal.retry_after_seconds is None and not isinstance(refusal, DatabaseUnavailable)
        state = RequestState.REFUSED if is_final else RequestState.APPROVED
        return _keep_outcome(asked, state, operation_id=refusal.operation_id, words=refusal_to_keep(refusal))
    return _keep_outcome(asked, RequestState.DONE, operation_id=outcome.operation.id, words="")


def _start_mass_grant(asked: ApprovalRequest) -> ApprovalRequest:
    granting.start(mass_grant_id=MassGrant.objects.get(key=asked.confirmation_id).id)
    return _keep_outcome(asked, RequestState.DONE, operation_id=None, words="")


def _drop_mass_grant(asked: ApprovalRequest) -> None:
    """A file that nobody will approve any more is not waiting either."""
    if asked.state in (RequestState.REJECTED, RequestState.EXPIRED, RequestState.WITHDRAWN):
        MassGrant.objects.filter(key=asked.confirmation_id, state="waiting").update(state="dropped")


def _keep_outcome(
    asked: ApprovalRequest, state: RequestState, *, operation_id: object, words: str
) -> ApprovalRequest:
    with transaction.atomic():
        # Only who ends it writes it down: the sweeper may have been there at the same time.
        changed = ApprovalRequest.objects.filter(id=asked.id, state=RequestState.APPROVED).update(
            state=state, operation_id=operation_id, outcome=words[:500], attempted_at=timezone.now()
        )
        asked.refresh_from_db()
        if changed and state != RequestState.APPROVED:
            _record(asked, "done" if state == RequestState.DONE else "refused", person=None, note=words)
    return asked


def sweep() -> int:
    """Do what was approved and is not done, and end what waited too long; how many were touched."""
    before = timezone.now() - TRIES_AGAIN_AFTER
    due = Q(attempted_at__isnull=True) | Q(attempted_at__lt=before)
    approved = ApprovalRequest.objects.filter(due, state=RequestState.APPROVED, decided_at__lt=before)
    ids = list(approved.order_by("id").values_list("id", flat=True)[:_SWEPT_AT_ONCE])
    for request_id in ids:
        # Before it is tried: what fails in a way that nobody foresaw waits its turn, and stops no other.
        ApprovalRequest.objects.filter(id=request_id).update(attempted_at=timezone.now())
        try:
            perform(request_id=request_id)
        except Exception:
            log.exception("approved_request_not_done", approval_request_id=request_id)
    return len(ids) + expire()


def expire() -> int:
    """End the requests whose time is over; how many."""
    with transaction.atomic():
        late = ApprovalRequest.objects.select_for_update(of=("self",), skip_locked=True).filter(
            state=RequestState.WAITING, expires_at__lte=timezone.now()
        )
        ended = list(late.order_by("id")[:_SWEPT_AT_ONCE])
        for asked in ended:
            asked.state = RequestState.EXPIRED
            asked.save(update_fields=["state"])
            _record(asked, "expired", person=None, note="")
            _drop_mass_grant(asked)
    return len(ended)


def _record(
    asked: ApprovalRequest, verb: str, *, person: User | None, note: str, request: HttpRequest | None = None
) -> None:
    audit.record(
        action=f"request.{verb}",
        subject_kind="request",
        subject_id=asked.id,
        reason=note,
        after={
            "state": asked.state,
            "points": asked.points,
            "key": asked.confirmation_id,
            "account_number": asked.confirmation.account_number,
            "operation_id": asked.operation_id,
        },
        request=request,
        person=person,
    )
