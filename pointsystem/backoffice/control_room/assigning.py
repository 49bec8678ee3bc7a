"""Assigning accounts to a cohort: a form, what it would do, and the page of an order with how far it came."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from cutover import routes
from cutover.models import OPEN_ORDERS, AssignmentOrder, OrderState, Stage
from cutover.switching import Choice, Counted, Plan, SwitchRefused, assigning, ordering, plans
from cutover.switching.errors import BadAssignment, ReasonMissing, UnknownCohort
from pointsystem.api.fields import is_account_number
from pointsystem.backoffice import audit
from pointsystem.backoffice.control_room import acts
from pointsystem.backoffice.control_room.rendering import address_of, asked_cohort, page

#: So many can be typed or pasted here; the command takes a file of any length.
MOST_ACCOUNTS: Final = 20_000
SHOWN_ORDERS: Final = 10
_SHOWN_WRONG: Final = 5


class AssignForm(forms.Form):
    """Which accounts go where, and why. `key` is made when the form is shown, and names its order."""

    to = forms.CharField(
        label=gettext_lazy("To cohort"),
        max_length=64,
        strip=True,
        help_text=gettext_lazy("Small letters, digits, - and _. A cohort that is not there yet is made."),
    )
    accounts = forms.CharField(
        label=gettext_lazy("Account numbers"),
        required=False,
        max_length=MOST_ACCOUNTS * 65,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false", "autocapitalize": "none"}),
        help_text=gettext_lazy("One in each line, or separated by blanks or commas."),
    )
    percent = forms.FloatField(
        label=gettext_lazy("Or a percentage"),
        required=False,
        min_value=0.01,
        max_value=100,
        widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=gettext_lazy("Of the accounts that the ledger knows; always the same ones first."),
    )
    reason = forms.CharField(label=gettext_lazy("Why"), max_length=500, strip=True)
    key = forms.UUIDField(widget=forms.HiddenInput)

    def clean_accounts(self) -> tuple[str, ...]:
        numbers = tuple(dict.fromkeys(self.cleaned_data["accounts"].replace(",", " ").split()))
        if len(numbers) > MOST_ACCOUNTS:
            raise ValidationError(
                _("At most %d accounts here. `cutover assign --accounts FILE` takes any number.")
                % MOST_ACCOUNTS
            )
        wrong = [number[:80] for number in numbers if not is_account_number(number)]
        if wrong:
            raise ValidationError(_("No account number: %s") % ", ".join(wrong[:_SHOWN_WRONG]))
        return numbers

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if not self.errors and bool(given["accounts"]) == (given["percent"] is not None):
            raise ValidationError(_("Give account numbers or a percentage, and not both."))
        return given

    @property
    def choice(self) -> Choice:
        given = self.cleaned_data
        return Choice(accounts=given["accounts"] or None, percent=given["percent"])


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderShown:
    """An order, how far it came."""

    order: AssignmentOrder

    @property
    def percent_done(self) -> int:
        order = self.order
        if order.state == OrderState.DONE or not order.accounts_total:
            return 100
        return min(100, round(100 * order.moved / order.accounts_total))

    @property
    def is_open(self) -> bool:
        return self.order.state in OPEN_ORDERS

    @property
    def tone(self) -> str:
        tones = {OrderState.DONE: "good", OrderState.REFUSED: "bad", OrderState.RUNNING: "info"}
        return tones.get(OrderState(self.order.state), "")


@require_http_methods(["GET", "HEAD", "POST"])
def assign(request: HttpRequest) -> HttpResponse:
    """The form, what it would do, or on to the order that its confirmation made."""
    if not settings.HAS_LEGACY:
        raise Http404
    cohort = asked_cohort(request)
    if cohort not in routes.everything():
        raise Http404(_("There is no such cohort."))
    if request.method != "POST":
        return _form(request, cohort, AssignForm(initial={"key": uuid4()}))
    if not request.user.has_perm(acts.OPERATE):
        raise PermissionDenied
    form = AssignForm(request.POST)
    if not form.is_valid() or request.POST.get("step") == "change":
        return _form(request, cohort, form)
    problem = ""
    if request.POST.get("step") == "confirm":
        try:
            return _ordered(request, cohort, form)
        except UnknownCohort as error:
            raise Http404(str(error)) from error
        except SwitchRefused as refused:
            problem = str(refused)
    try:
        plan = assigning.plan(cohort=cohort, to=form.cleaned_data["to"], choice=form.choice)
        counted = assigning.counted(cohort=cohort, to=form.cleaned_data["to"], choice=form.choice)
    except SwitchRefused as refused:
        return _form(request, cohort, form, problem=problem or str(refused))
    return _preview(request, cohort, form, plan, counted, problem=problem)


def _form(request: HttpRequest, cohort: str, form: AssignForm, *, problem: str = "") -> HttpResponse:
    found = AssignmentOrder.objects.filter(cohort=cohort).order_by("-id")[:SHOWN_ORDERS]
    return page(
        request,
        "assign.html",
        title=_("Assign accounts to a cohort"),
        cohort=cohort,
        route=routes.everything()[cohort],
        cohorts=sorted(name for name in routes.everything() if name != cohort),
        form=form,
        problem=problem,
        orders=[OrderShown(order=each) for each in found],
        can_operate=request.user.has_perm(acts.OPERATE),
        room_address=address_of(cohort),
        status=409 if problem else 200,
    )


def _preview(
    request: HttpRequest, cohort: str, form: AssignForm, plan: Plan, counted: Counted, *, problem: str
) -> HttpResponse:
    return page(
        request,
        "assign_preview.html",
        title=_("Assign accounts to a cohort"),
        cohort=cohort,
        form=form,
        plan=plan,
        counted=counted,
        is_new_cohort=plan.parameters["to"] not in routes.everything(),
        changes_decider=plans.changes_decider(Stage(plan.from_stage), Stage(plan.to_stage)),
        needs_second_person=assigning.needs_second_person(plan),
        problem=problem,
        room_address=address_of(cohort),
        status=409 if problem else 200,
    )


def _ordered(request: HttpRequest, cohort: str, form: AssignForm) -> HttpResponse:
    """Raises SwitchRefused."""
    given = form.cleaned_data
    with transaction.atomic():
        made = ordering.order(
            key=given["key"],
            cohort=cohort,
            to=given["to"],
            choice=form.choice,
            digest=request.POST.get("digest", ""),
            actor=request.user.get_username(),
            reason=given["reason"],
            overridden=request.POST.getlist("override"),
        )
        if not made.is_repeated:
            _record(request, made.order, "assignment_ordered", reason=given["reason"])
            _ring_after_commit()
    if made.is_repeated:
        messages.info(request, _("This was ordered before, and not again."))
    return redirect("admin:control_room_assignment", order_id=made.order.id)


def _ring_after_commit() -> None:
    """Ask a worker at once. Where the broker is away, beat asks later."""
    from cutover.tasks import assign as carry_out

    transaction.on_commit(lambda: carry_out.delay(), robust=True)


@require_http_methods(["GET", "HEAD", "POST"])
def assignment(request: HttpRequest, order_id: int) -> HttpResponse:
    """An order: how far it came, and what a second person or its author can still do about it."""
    if not settings.HAS_LEGACY:
        raise Http404
    order = AssignmentOrder.objects.filter(id=order_id).first()
    if order is None:
        raise Http404(_("There is no such order."))
    problem = ""
    if request.method == "POST":
        try:
            return _decided(request, order)
        except SwitchRefused as refused:
            problem = str(refused)
            order.refresh_from_db()
    plan, why_not = _plan_of(order)
    waits = (
        plan is not None and order.state == OrderState.WAITING and ordering.waits_for_approval(order, plan)
    )
    is_own = order.actor == request.user.get_username()
    return page(
        request,
        "_assignment.html" if request.GET.get("part") == "live" else "assignment.html",
        title=_("Assignment %d") % order.id,
        shown=OrderShown(order=order),
        order=order,
        plan=plan,
        why_not=why_not,
        waits_for_approval=waits,
        may_approve=waits and not is_own and request.user.has_perm(acts.APPROVE),
        may_withdraw=order.state == OrderState.WAITING and request.user.has_perm(acts.OPERATE),
        problem=problem,
        room_address=address_of(order.cohort),
        status=409 if problem else 200,
    )


def _plan_of(order: AssignmentOrder) -> tuple[Plan | None, str]:
    """What a waiting order would do now, or why it could not."""
    if order.state != OrderState.WAITING:
        return None, ""
    try:
        return ordering.plan_of(order), ""
    except SwitchRefused as refused:
        return None, str(refused)


def _decided(request: HttpRequest, order: AssignmentOrder) -> HttpResponse:
    """Raises SwitchRefused."""
    reason = request.POST.get("reason", "").strip()
    if not reason:
        raise ReasonMissing(_("Say why."))
    if request.POST.get("decision") == "approve":
        if not request.user.has_perm(acts.APPROVE):
            raise PermissionDenied
        plans.approve_plan(
            ordering.plan_of(order), digest=request.POST.get("digest", ""), actor=request.user.get_username()
        )
        with transaction.atomic():
            _record(request, order, "plan_approved", reason=reason)
            _ring_after_commit()
        messages.success(request, _("The plan is approved, and will be carried out."))
    else:
        if not request.user.has_perm(acts.OPERATE):
            raise PermissionDenied
        with transaction.atomic():
            if not ordering.withdraw(order_id=order.id):
                raise BadAssignment(_("A worker has begun already: it cannot be withdrawn any more."))
            _record(request, order, "assignment_withdrawn", reason=reason)
        messages.info(request, _("Withdrawn. Nothing was moved."))
    return redirect("admin:control_room_assignment", order_id=order.id)


def _record(request: HttpRequest, order: AssignmentOrder, verb: str, *, reason: str) -> None:
    """In the transaction of the order; what was moved is in the cutover's own journal."""
    audit.record(
        action=f"cutover.{verb}",
        subject_kind="cohort",
        subject_id=order.cohort,
        reason=reason,
        after={
            "order": order.id,
            "to": order.to,
            "accounts": ordering.choice_of(order).words,
            "from_stage": order.from_stage,
            "to_stage": order.to_stage,
            "overridden": order.overridden,
            "digest": order.digest,
        },
        request=request,
    )
