"""Finding accounts and operations, and looking at them."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ledger.errors import ValidationRefused
from ledger.told import told
from pointsystem.api.fields import is_account_number
from pointsystem.backoffice.support import account_page
from pointsystem.backoffice.support.deciding import legacy_decides
from pointsystem.backoffice.support.models import Confirmation
from pointsystem.backoffice.support.operation_lines import (
    SHOWN_ON_A_PAGE,
    OperationLine,
    lot_story,
    operation_lines,
)
from pointsystem.backoffice.support.searching import AccountHit, OperationHit, search
from pointsystem.backoffice.support.timeline import timeline_page
from pointsystem.backoffice.support.views.rendering import page


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """One field; the only hit is gone to at once."""
    term = request.GET.get("q", "").strip()
    found = search(term=term) if term else None
    match found.only if found else None:
        case AccountHit(account_number=number):
            return redirect("admin:support_account", account_number=number)
        case OperationHit(id=operation_id):
            return redirect("admin:support_operation", operation_id=operation_id)
        case UUID() as lot_id:
            return redirect("admin:support_lot", lot_id=lot_id)
    return page(request, "search.html", title=_("Find an account"), term=term, found=found)


@require_safe
def account(request: HttpRequest, account_number: str) -> HttpResponse:
    """Where the points of an account are, and where they went."""
    if not is_account_number(account_number):
        raise Http404
    head = account_page.head(account_number=account_number)
    state = "all" if request.GET.get("lots") == "all" else "live"
    context: dict[str, Any] = {
        "head": head,
        "lots_state": state,
        "lots": account_page.lots(
            account_number=account_number, state=state, cursor=request.GET.get("lots_cursor")
        ),
        "can_move": request.user.has_perm("backoffice.move_points"),
        "can_block": request.user.has_perm("backoffice.block_account"),
    }
    cursor = request.GET.get("older")
    if head.is_decided_by_legacy:
        context["history"] = account_page.history(account_number=account_number, cursor=cursor)
    # Cursors of the legacy's history mean nothing to our own list.
    own_cursor = request.GET.get("beside") if head.is_decided_by_legacy else cursor
    try:
        context["timeline"] = timeline_page(
            account_id=head.account.id if head.account else None,
            account_number=account_number,
            older_than=own_cursor,
            with_completed=not head.is_decided_by_legacy,
        )
    except ValidationRefused as refusal:
        raise Http404(told(refusal.detail)) from refusal
    context["cursor_name"] = "beside" if head.is_decided_by_legacy else "older"
    return page(
        request,
        "account.html",
        title=_("Account %s") % account_number,
        is_first_page=not own_cursor,
        **context,
    )


@require_safe
def operation(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """One operation with everything that it did."""
    line = find_line(operation_id)
    confirmation = _confirmation(line)
    return page(
        request,
        "operation.html",
        title=_("Operation"),
        line=line,
        confirmation=confirmation,
        can_cancel=line.cancellable_points > 0 and request.user.has_perm("backoffice.move_points"),
        is_decided_by_legacy=legacy_decides(account_number=line.account_number),
    )


def find_line(operation_id: UUID) -> OperationLine:
    """The whole operation. Raises Http404."""
    lines = operation_lines(operation_ids=[operation_id], shown=SHOWN_ON_A_PAGE)
    if operation_id not in lines:
        raise Http404(_("There is no such operation."))
    return lines[operation_id]


def _confirmation(line: OperationLine) -> Confirmation | None:
    """The form of the desk that asked for the operation, for its note."""
    try:
        key = UUID(line.idempotency_key)
    except ValueError:
        return None
    return Confirmation.objects.select_related("person", "request__decided_by").filter(key=key).first()


@require_safe
def lot(request: HttpRequest, lot_id: UUID) -> HttpResponse:
    """Where every point of a lot came from and went to."""
    story = lot_story(lot_id=lot_id)
    if story is None:
        # The lots of another side are told with its operations, and have no story of their own here.
        return page(request, "lot_unknown.html", title=_("Lot"), status=404, lot_id=lot_id)
    return page(request, "lot.html", title=_("Lot"), story=story)
