"""The control room, the page of one act, the page of one doubt, and the journal as a file."""

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from cutover import doubts, switching
from cutover.models import DEFAULT_COHORT
from cutover.switching import Plan, SwitchRefused
from cutover.switching.errors import UnknownCohort
from ledger.told import told
from legacy_bridge.errors import LegacyError
from pointsystem.backoffice import audit
from pointsystem.backoffice.control_room import acts, flows, months, situation, words
from pointsystem.backoffice.control_room.acts import ACTS, Act
from pointsystem.backoffice.control_room.rendering import address_of, asked_cohort, page


class ActForm(forms.Form):
    """What every act asks for; minutes only where it is a freeze."""

    reason = forms.CharField(label=gettext_lazy("Why"), max_length=500, strip=True)
    expected_epoch = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    digest = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)
    minutes = forms.FloatField(
        label=gettext_lazy("Minutes"),
        min_value=0.1,
        max_value=switching.LONGEST_FREEZE_MINUTES,
        required=False,
        initial=switching.FREEZE_MINUTES,
    )


class DoubtForm(forms.Form):
    row_id = forms.CharField(
        label=gettext_lazy("The row of the legacy that it became"), max_length=64, required=False, strip=True
    )
    reason = forms.CharField(label=gettext_lazy("How do you know"), max_length=500, strip=True)


@require_safe
def room(request: HttpRequest) -> HttpResponse:
    """Everything; with `part=live` only what changes by itself, for the script that asks for it."""
    if not settings.HAS_LEGACY:
        return page(request, "without_legacy.html", title=_("Control room"))
    cohort = asked_cohort(request)
    try:
        found = situation.read(cohort=cohort)
    except UnknownCohort as error:
        raise Http404(str(error)) from error
    is_part = request.GET.get("part") == "live"
    return page(
        request,
        "_live.html" if is_part else "room.html",
        title=_("Control room"),
        cohort=cohort,
        room=found,
        sentence=words.sentence(found.status),
        way_back=words.way_back(found.status),
        buttons=acts.buttons(found.status, found.plan, request.user),
        window_minutes=flows.WINDOW_SECONDS // 60,
        callers_days=situation.CALLERS_SINCE_DAYS,
        can_operate=request.user.has_perm(acts.OPERATE),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def act(request: HttpRequest, name: str) -> HttpResponse:
    """What an act would do now, and the form that does it."""
    chosen = ACTS.get(name)
    if chosen is None or not settings.HAS_LEGACY:
        raise Http404
    if not request.user.has_perm(chosen.permission):
        raise PermissionDenied
    cohort = asked_cohort(request)
    problem = ""
    form = ActForm(request.POST) if request.method == "POST" else None
    if form is not None and form.is_valid():
        try:
            return _done(request, chosen, cohort, form)
        except UnknownCohort as error:
            raise Http404(str(error)) from error
        except SwitchRefused as refused:
            problem = str(refused)
    try:
        plan, status = _plan(chosen, cohort), switching.status(cohort=cohort)
    except UnknownCohort as error:
        raise Http404(str(error)) from error
    except SwitchRefused as refused:
        messages.error(request, told(str(refused)))
        return redirect(address_of(cohort))
    if form is None:
        form = ActForm(initial={"expected_epoch": status.route.epoch, "digest": plan.digest if plan else ""})
    return page(
        request,
        "act.html",
        title=chosen.title,
        act=chosen,
        cohort=cohort,
        status=409 if problem else 200,
        route=status.route,
        form=form,
        plan=plan,
        problem=problem,
        way_back=words.way_back(status),
        has_minutes=chosen.name == "freeze",
        room_address=address_of(cohort),
    )


def _plan(chosen: Act, cohort: str) -> Plan | None:
    """Raises SwitchRefused."""
    if chosen.name == "approve":
        return switching.plan(cohort=cohort)
    return switching.plan(cohort=cohort, action=chosen.plans) if chosen.plans else None


def _done(request: HttpRequest, chosen: Act, cohort: str, form: ActForm) -> HttpResponse:
    """Raises SwitchRefused."""
    given = form.cleaned_data
    if chosen.name == "approve":
        acts.approve(cohort=cohort, digest=given["digest"], reason=given["reason"], request=request)
        messages.success(request, _("The plan is approved. Another person can carry it out now."))
        return redirect(address_of(cohort))
    done = acts.perform(
        chosen,
        cohort=cohort,
        reason=given["reason"],
        expected_epoch=given["expected_epoch"],
        minutes=given["minutes"],
        overridden=request.POST.getlist("override"),
        request=request,
    )
    notes = " ".join(map(told, done.notes))
    head = f"{chosen.title}: {done.route.stage.value}, {_('epoch')} {done.route.epoch}."
    messages.success(request, f"{head} {notes}")
    return redirect(address_of(cohort))


@require_http_methods(["GET", "HEAD", "POST"])
def doubt(request: HttpRequest, operation_id: UUID) -> HttpResponse:
    """One operation in doubt with what is known of it, and the decision of a person who has looked."""
    if not settings.HAS_LEGACY:
        raise Http404
    found = next((each for each in doubts.waiting() if each.operation_id == operation_id), None)
    if found is None:
        raise Http404(_("This operation is not in doubt."))
    form = DoubtForm(request.POST if request.method == "POST" else None)
    problem = ""
    if request.method == "POST":
        if not request.user.has_perm(acts.OPERATE):
            raise PermissionDenied
        if form.is_valid():
            try:
                _decide(request, operation_id, form)
                messages.success(request, _("Decided."))
                return redirect("admin:control_room")
            except doubts.DecisionRefused as refused:
                problem = str(refused)
    return page(
        request,
        "doubt.html",
        title=_("An operation in doubt"),
        doubt=found,
        form=form,
        problem=problem,
        can_operate=request.user.has_perm(acts.OPERATE),
        status=409 if problem else 200,
    )


def _decide(request: HttpRequest, operation_id: UUID, form: DoubtForm) -> None:
    """Raises doubts.DecisionRefused."""
    row_id, reason = form.cleaned_data["row_id"], form.cleaned_data["reason"]
    is_applied = request.POST.get("decision") == "applied"
    common: dict[str, Any] = {
        "operation_id": operation_id,
        "actor": request.user.get_username(),
        "reason": reason,
    }
    if is_applied and not row_id:
        raise doubts.DecisionRefused(_("Say which row of the legacy it became."))
    if is_applied:
        doubts.decide_applied(row_id=row_id, **common)
    else:
        doubts.decide_not_applied(**common)
    with transaction.atomic():
        audit.record(
            action="doubt.decided",
            subject_kind="operation",
            subject_id=operation_id,
            reason=reason,
            after={"decided": "applied" if is_applied else "not applied", "row_id": row_id or None},
            request=request,
        )


@require_safe
def month(request: HttpRequest) -> HttpResponse:
    """One month of both sides; the legacy is asked, so this is a page of its own."""
    title = _("Monthly totals of both sides")
    if not settings.HAS_LEGACY:
        return page(request, "without_legacy.html", title=title)
    of = months.asked_for(request.GET.get("month", ""))
    if of is None:
        raise Http404(_("This is no month that has begun."))
    shown, problem = None, ""
    try:
        shown = months.read(of)
    except LegacyError as error:
        problem = _("The legacy does not answer: %s") % told(str(error)[:200])
    return page(
        request,
        "month.html",
        title=title,
        shown=shown,
        problem=problem,
        room_address=address_of(DEFAULT_COHORT),
        status=503 if problem else 200,
    )


@require_safe
def journal(request: HttpRequest) -> HttpResponse:
    """The whole journal of a cohort, or of all, as a table."""
    cohort = request.GET.get("cohort") or None
    entries = switching.entries(cohort=cohort, limit=None)
    answer = HttpResponse(switching.as_csv(entries), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="cutover-journal.csv"'
    return answer
