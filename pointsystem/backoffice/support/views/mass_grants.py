"""Grants to many accounts from a file: uploaded, looked at, confirmed, followed, taken home."""

import csv
from collections.abc import Iterator

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from ledger.errors import IdempotencyKeyReused
from pointsystem.backoffice.support import grant_files, granting, mass_grants
from pointsystem.backoffice.support.forms import ConfirmMassGrantForm, UploadForm
from pointsystem.backoffice.support.models import (
    ApprovalRequest,
    MassGrant,
    MassGrantRow,
    MassGrantState,
    RowState,
)
from pointsystem.backoffice.support.views.rendering import page, person_of
from pointsystem.backoffice.support.words import refusal_in_words

ROWS_ON_A_PAGE = 50
_LISTED = 20
#: A running page asks again after this long, without any script.
_REFRESH_SECONDS = 3
#: Spreadsheets would run what begins so.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@require_http_methods(["GET", "HEAD", "POST"])
def mass_grant_list(request: HttpRequest) -> HttpResponse:
    """The latest mass grants, and a field for the next file."""
    form = UploadForm(*((request.POST, request.FILES) if request.method == "POST" else ()))
    errors: list[grant_files.LineError] = []
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            # One byte more than may be is enough to refuse it.
            content = file.read(grant_files.MOST_BYTES + 1)
            found = mass_grants.upload(
                file_name=file.name, content=content, person=person_of(request), request=request
            )
            return redirect("admin:support_mass_grant", mass_grant_id=found.id)
        except grant_files.FileRefused as refused:
            errors = list(refused.errors)
    latest = MassGrant.objects.select_related("author").order_by("-id")[:_LISTED]
    return page(
        request,
        "mass_grants.html",
        title=_("Mass grants"),
        form=form,
        errors=errors,
        latest=latest,
        most_rows=grant_files.MOST_ROWS,
        status=422 if errors else 200,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def mass_grant(request: HttpRequest, mass_grant_id: int) -> HttpResponse:
    """One file: its preview with totals before it is confirmed, its progress after."""
    found = _find(mass_grant_id)
    form = ConfirmMassGrantForm(request.POST if request.method == "POST" else None)
    problem = ""
    if request.method == "POST":
        if request.POST.get("decision") == "drop":
            return _drop(request, found)
        if form.is_valid():
            try:
                return _confirm(request, found, form.cleaned_data["note"])
            except IdempotencyKeyReused as refusal:
                problem = refusal_in_words(refusal)
    counts = granting.counts(mass_grant_id=found.id)
    done = found.rows_total - counts[RowState.WAITING]
    rows, older = _rows(request, found)
    is_running = found.state == MassGrantState.RUNNING
    answer = page(
        request,
        "mass_grant.html",
        title=_("Mass grant %d") % found.id,
        mass_grant=found,
        form=form,
        problem=problem,
        counts=[(RowState(state).label, state, count) for state, count in counts.items()],
        done=done,
        percent=done * 100 // max(found.rows_total, 1),
        rows=rows,
        next_line=older,
        shown_state=request.GET.get("state", ""),
        is_running=is_running,
        is_previewed=found.state == MassGrantState.PREVIEWED,
        is_own=found.author_id == person_of(request).pk,
        needs_second_person=mass_grants.needs_second_person(found),
        before=mass_grants.confirmed_before(mass_grant=found),
        asked=ApprovalRequest.objects.filter(confirmation_id=found.key).first(),
    )
    if is_running:
        answer["Refresh"] = str(_REFRESH_SECONDS)
    return answer


def _find(mass_grant_id: int) -> MassGrant:
    found = MassGrant.objects.select_related("author").filter(id=mass_grant_id).first()
    if found is None:
        raise Http404(_("There is no such mass grant."))
    return found


def _rows(request: HttpRequest, found: MassGrant) -> tuple[list[MassGrantRow], int | None]:
    """A page of rows in order, and the line after which the next page begins."""
    rows = MassGrantRow.objects.filter(mass_grant_id=found.id)
    after = request.GET.get("after", "")
    if after.isascii() and after.isdigit() and len(after) < 10:
        rows = rows.filter(line__gt=int(after))
    if request.GET.get("state") in RowState.values:
        rows = rows.filter(state=request.GET["state"])
    shown = list(rows.order_by("line")[: ROWS_ON_A_PAGE + 1])
    has_more = len(shown) > ROWS_ON_A_PAGE
    return shown[:ROWS_ON_A_PAGE], shown[ROWS_ON_A_PAGE - 1].line if has_more else None


def _confirm(request: HttpRequest, found: MassGrant, note: str) -> HttpResponse:
    """Raises IdempotencyKeyReused."""
    try:
        started = mass_grants.confirm(
            mass_grant_id=found.id, note=note, person=person_of(request), request=request
        )
    except mass_grants.NotYours:
        raise PermissionDenied from None
    if started.request is not None:
        messages.info(request, _("A second person has to approve this. Nothing was granted yet."))
        return redirect("admin:support_request", request_id=started.request.id)
    return redirect("admin:support_mass_grant", mass_grant_id=found.id)


def _drop(request: HttpRequest, found: MassGrant) -> HttpResponse:
    try:
        dropped = mass_grants.drop(mass_grant_id=found.id, person=person_of(request), request=request)
    except mass_grants.NotYours:
        raise PermissionDenied from None
    if dropped:
        messages.info(request, _("Dropped. Nothing was granted."))
        return redirect("admin:support_mass_grants")
    messages.warning(request, _("It was confirmed already, and cannot be dropped."))
    return redirect("admin:support_mass_grant", mass_grant_id=found.id)


@require_safe
def mass_grant_results(request: HttpRequest, mass_grant_id: int) -> StreamingHttpResponse:
    """Every row with what became of it, as CSV."""
    found = _find(mass_grant_id)
    answer = StreamingHttpResponse(_results(found), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="mass-grant-{found.id}.csv"'
    return answer


class _Line:
    """What `csv.writer` writes into: each row comes straight back."""

    def write(self, text: str) -> str:
        return text


def _results(found: MassGrant) -> Iterator[str]:
    write = csv.writer(_Line()).writerow
    yield write(
        ["line", "account_number", "points", "reason", "reference", "result", "operation", "code", "detail"]
    )
    rows = MassGrantRow.objects.filter(mass_grant_id=found.id).order_by("line")
    for row in rows.iterator(chunk_size=1000):
        cells = [row.account_number, row.points, row.reason, row.reference or "", row.state]
        cells += [str(row.operation_id or ""), row.code, row.detail]
        yield write([row.line, *(_safe(cell) for cell in cells)])


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
