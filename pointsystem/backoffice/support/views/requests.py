"""What waits for a second person."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from ledger.told import told
from pointsystem.backoffice.support import requests
from pointsystem.backoffice.support.forms import DecisionForm
from pointsystem.backoffice.support.models import ApprovalRequest, MassGrant, MoveKind, RequestState
from pointsystem.backoffice.support.moves import Move
from pointsystem.backoffice.support.previews import Preview, preview
from pointsystem.backoffice.support.views.rendering import page, person_of

PAGE_ROWS = 50
OPEN = (RequestState.WAITING, RequestState.APPROVED)


@require_safe
def request_list(request: HttpRequest) -> HttpResponse:
    """Those that are to be decided or done, oldest first; or all, newest first."""
    shows_all = request.GET.get("show") == "all"
    found = ApprovalRequest.objects.select_related("confirmation", "author", "decided_by")
    before = request.GET.get("before", "")
    if shows_all:
        if before.isascii() and before.isdigit() and len(before) < 18:
            found = found.filter(id__lt=int(before))
        rows = list(found.order_by("-id")[: PAGE_ROWS + 1])
    else:
        rows = list(found.filter(state__in=OPEN).order_by("id")[: PAGE_ROWS + 1])
    return page(
        request,
        "requests.html",
        title=_("Requests for a second person"),
        rows=rows[:PAGE_ROWS],
        shows_all=shows_all,
        has_more=len(rows) > PAGE_ROWS,
        older=rows[PAGE_ROWS - 1].id if shows_all and len(rows) > PAGE_ROWS else None,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def request_detail(request: HttpRequest, request_id: int) -> HttpResponse:
    """One request with its effect as it would be now, and the decision."""
    asked = _find(request_id)
    person = person_of(request)
    may_decide = request.user.has_perm("backoffice.approve_request") and asked.author_id != person.pk
    form = DecisionForm(request.POST if request.method == "POST" else None)
    problem = ""
    if request.method == "POST":
        is_withdrawal = request.POST.get("decision") == "withdraw"
        if not is_withdrawal and not request.user.has_perm("backoffice.approve_request"):
            raise PermissionDenied
        if is_withdrawal and asked.author_id != person.pk:
            raise PermissionDenied
        if form.is_valid():
            try:
                return _decide(request, asked, form.cleaned_data["note"])
            except requests.RequestRefused as refused:
                problem = str(refused)
                asked = _find(request_id)
    return page(
        request,
        "request.html",
        title=_("Request %d") % asked.id,
        asked=asked,
        move=asked.confirmation.payload,
        mass_grant=MassGrant.objects.filter(key=asked.confirmation_id).first(),
        preview=_preview(asked),
        form=form,
        problem=problem,
        is_waiting=asked.state == RequestState.WAITING,
        may_decide=may_decide and asked.state == RequestState.WAITING,
        is_own=asked.author_id == person.pk,
        status=409 if problem else 200,
    )


def _find(request_id: int) -> ApprovalRequest:
    found = ApprovalRequest.objects.select_related("confirmation", "author", "decided_by")
    asked = found.filter(id=request_id).first()
    if asked is None:
        raise Http404(_("There is no such request."))
    return asked


def _preview(asked: ApprovalRequest) -> Preview | None:
    """What approving would do now; nothing for what is decided, or shows a page of its own."""
    if asked.state != RequestState.WAITING or asked.confirmation.kind == MoveKind.MASS_GRANT:
        return None
    return preview(move=Move.from_json(asked.confirmation.payload), actor=asked.author.get_username())


def _decide(request: HttpRequest, asked: ApprovalRequest, note: str) -> HttpResponse:
    """Raises requests.RequestRefused."""
    person = person_of(request)
    if request.POST.get("decision") == "withdraw":
        requests.withdraw(request_id=asked.id, person=person, note=note, request=request)
        messages.info(request, _("Withdrawn. Nothing was moved."))
    elif request.POST.get("decision") == "approve":
        done = requests.approve(request_id=asked.id, person=person, note=note, request=request)
        if done.state == RequestState.DONE:
            messages.success(request, _("Approved, and done."))
        else:
            messages.warning(request, _("Approved. %s") % told(done.outcome))
    else:
        requests.reject(request_id=asked.id, person=person, note=note, request=request)
        messages.info(request, _("Rejected. Nothing was moved."))
    return redirect("admin:support_request", request_id=asked.id)
