"""The forms that move points: filled in, looked at as a preview, confirmed. Three times one address."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from ledger.errors import Refusal
from pointsystem.api.fields import is_account_number
from pointsystem.backoffice.support.confirming import Confirmed, confirm
from pointsystem.backoffice.support.forms import (
    ACCOUNT_FORMS,
    STATUS_KINDS,
    CancelForm,
    FormExpired,
    new_token,
)
from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import Move
from pointsystem.backoffice.support.previews import preview
from pointsystem.backoffice.support.views.accounts import find_line
from pointsystem.backoffice.support.views.rendering import page, person_of
from pointsystem.backoffice.support.words import refusal_in_words

#: What the page of each move is called.
TITLES = {
    MoveKind.GRANT: gettext_lazy("Grant points"),
    MoveKind.DEDUCT: gettext_lazy("Deduct points"),
    MoveKind.TRANSFER: gettext_lazy("Transfer points"),
    MoveKind.CANCEL: gettext_lazy("Cancel an operation"),
    MoveKind.BLOCK: gettext_lazy("Block the account"),
    MoveKind.UNBLOCK: gettext_lazy("Unblock the account"),
    MoveKind.CLOSE: gettext_lazy("Close the account"),
}


@require_http_methods(["GET", "HEAD", "POST"])
def move_account(request: HttpRequest, account_number: str, kind: str) -> HttpResponse:
    """Grant, deduct, transfer; block, unblock, close."""
    if kind not in ACCOUNT_FORMS or not is_account_number(account_number):
        raise Http404
    wanted = "backoffice.block_account" if kind in STATUS_KINDS else "backoffice.move_points"
    if not request.user.has_perm(wanted):
        raise PermissionDenied
    person = person_of(request)
    form_type = ACCOUNT_FORMS[kind]
    given: dict[str, Any] = {"account_number": account_number, "person": person}
    if request.method != "POST":
        form = form_type(initial={"token": new_token(kind=MoveKind(kind), person=person)}, **given)
    else:
        form = form_type(request.POST, **given)
    return _two_steps(request, form, account_number=account_number)


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """Cancel an earn or a spend, in whole or in part."""
    person = person_of(request)
    line = find_line(operation_id)
    if line.kind not in ("earn", "spend"):
        raise Http404(_("Only earns and spends can be cancelled."))
    given: dict[str, Any] = {
        "account_number": line.account_number,
        "person": person,
        "operation_id": operation_id,
        "operation_kind": line.kind,
    }
    if request.method != "POST":
        initial = {
            "token": new_token(kind=MoveKind.CANCEL, person=person),
            "points": line.cancellable_points or None,
        }
        form = CancelForm(initial=initial, **given)
    else:
        form = CancelForm(request.POST, **given)
    return _two_steps(request, form, account_number=line.account_number, line=line)


def _two_steps(request: HttpRequest, form: Any, *, account_number: str, **context: Any) -> HttpResponse:
    """The form, its preview, or where its confirmation leads. Nothing typed is lost by a refusal."""
    shown = {
        "form": form,
        "account_number": account_number,
        "title": TITLES[form.kind],
        "kind": form.kind.value,
        **context,
    }
    if request.method != "POST":
        return page(request, "move_form.html", **shown)
    if not form.is_valid() or request.POST.get("step") == "change":
        return page(request, "move_form.html", **shown)
    try:
        move = form.move()
    except FormExpired:
        # Its values are kept, under a key that nothing was done with.
        form.data = form.data.copy()
        form.data["token"] = new_token(kind=form.kind, person=person_of(request))
        problem = _("This form lay open for too long. Its values are still here: look at them again.")
        return page(request, "move_form.html", problem=problem, **shown)
    if request.POST.get("step") == "confirm":
        try:
            return _go_on(request, move, confirm(move=move, person=person_of(request), request=request))
        except Refusal as refusal:
            shown |= {"problem": refusal_in_words(refusal), "operation_id": refusal.operation_id}
            return page(request, "move_form.html", status=409, **shown)
    effect = preview(move=move, actor=person_of(request).get_username())
    if effect.refusal is not None:
        return page(request, "move_form.html", problem=refusal_in_words(effect.refusal), **shown)
    return page(request, "move_preview.html", move=move, preview=effect, **shown)


def _go_on(request: HttpRequest, move: Move, confirmed: Confirmed) -> HttpResponse:
    """To what the confirmation made: a page that can be reloaded."""
    if confirmed.request is not None:
        messages.info(request, _("A second person has to approve this. Nothing was moved yet."))
        return redirect("admin:support_request", request_id=confirmed.request.id)
    if confirmed.outcome is None:
        messages.success(request, _("The status of the account is changed."))
        return redirect("admin:support_account", account_number=move.account_number)
    operation = confirmed.outcome.operation
    if operation.state == "completed":
        said = _("This was done before, and not again.") if confirmed.is_repeated else _("Done.")
        messages.success(request, said)
    else:
        messages.info(
            request, _("Accepted: it waits in order on this account, and is done soon. Do not start anew.")
        )
    return redirect("admin:support_operation", operation_id=operation.id)
