"""The pages of finance: parse the month or the day, ask one function, show it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from ledger import clock
from ledger.models import EntryKind
from pointsystem.backoffice import charts
from pointsystem.backoffice.finance import calendar, files, standing
from pointsystem.backoffice.finance.liability import OLDEST_MONTHS, Liability, liability
from pointsystem.backoffice.finance.roll_forward import (
    KINDS,
    Check,
    Line,
    Month,
    RollForward,
    month_by_reason,
    roll_forward,
)

#: So many months are shown on the page, and drawn; the file has all of them.
SHOWN_MONTHS: Final = 36
_DRAWN_MONTHS: Final = 24

COLUMNS: Final[dict[EntryKind, Any]] = {
    EntryKind.EARN: gettext_lazy("Earned"),
    EntryKind.EARN_CANCEL: gettext_lazy("Cancelled"),
    EntryKind.SPEND: gettext_lazy("Spent"),
    EntryKind.SPEND_CANCEL: gettext_lazy("Restored"),
    EntryKind.EXPIRE: gettext_lazy("Expired"),
    EntryKind.ADJUST: gettext_lazy("Adjusted"),
    EntryKind.TRANSFER_OUT: gettext_lazy("Given"),
    EntryKind.TRANSFER_IN: gettext_lazy("Received"),
    EntryKind.CLAWBACK: gettext_lazy("Clawed back"),
}


@require_safe
def roll_forward_page(request: HttpRequest) -> HttpResponse:
    """All months in sum, newest first, and how the last closing stands to the lots."""
    found = roll_forward(now=clock.now())
    return _page(
        request,
        "roll_forward.html",
        title=_("Monthly roll-forward"),
        found=found,
        **_table(found.months[-SHOWN_MONTHS:][::-1]),
        hidden_months=max(0, len(found.months) - SHOWN_MONTHS),
        this_month=calendar.month_of(found.now),
        drawn=_drawn_months(found),
    )


@require_safe
def month_page(request: HttpRequest, month: str) -> HttpResponse:
    """One month by reason, each closing beside the lots at that instant."""
    now = clock.now()
    found = month_by_reason(month=_month(month, now), now=now)
    # The reasons first, their sum in the last row, each with its check.
    pairs = [*_by_reason(found), (found.checks[0], found.total)]
    table = _table([line for _check, line in pairs])
    return _page(
        request,
        "month.html",
        title=_("Roll-forward of %s") % month,
        found=found,
        columns=table["columns"],
        rows=[(check, *line) for (check, _line), line in zip(pairs, table["lines"], strict=True)],
        month=found.total.month,
        drawn=_drawn_reasons(found.reasons),
    )


@require_safe
def liability_page(request: HttpRequest) -> HttpResponse:
    """What is owed, by age and by the month of its expiry, now or at the end of a day."""
    now = clock.now()
    typed = request.GET.get("day", "").strip()
    try:
        day = calendar.day_from(typed, now=now) if typed else None
        problem = ""
    except calendar.DateRefused:
        day, problem = None, _("“%s” is not a day up to today, as in 2026-03-31.") % typed
    found = liability(day=day, now=now)
    return _page(
        request,
        "liability.html",
        title=_("What is owed"),
        status=400 if problem else 200,
        found=found,
        day=day,
        today=now.astimezone(clock.programme_zone()).date(),
        problem=problem,
        oldest=OLDEST_MONTHS,
        drawn_ages=_drawn_ages(found),
        drawn_expiries=_drawn_expiries(found),
    )


# --- files ------------------------------------------------------------------------------------------------
@require_safe
def roll_forward_file(request: HttpRequest) -> StreamingHttpResponse:
    """Every month, its sum and its reasons; with `month` that one alone."""
    now = clock.now()
    if typed := request.GET.get("month", ""):
        one = month_by_reason(month=_month(typed, now), now=now)
        return _file(f"roll-forward-{typed}", files.ROLL_FORWARD_HEADER, [one.total, *one.reasons])
    found = roll_forward(now=now)
    lines = [line for total in found.months for line in (total, *found.reasons[total.month])]
    return _file("roll-forward", files.ROLL_FORWARD_HEADER, lines)


@require_safe
def liability_file(request: HttpRequest, table: str) -> StreamingHttpResponse:
    """By age or by expiry."""
    if table not in ("age", "expiry"):
        raise Http404
    now = clock.now()
    typed = request.GET.get("day", "")
    try:
        found = liability(day=calendar.day_from(typed, now=now) if typed else None, now=now)
    except calendar.DateRefused as error:
        raise Http404 from error
    by_age = table == "age"
    return _streamed(
        f"liability-by-{table}-{found.at.astimezone(clock.programme_zone()):%Y-%m-%d}",
        files.AGE_HEADER if by_age else files.EXPIRY_HEADER,
        files.age_rows(found) if by_age else files.expiry_rows(found),
    )


def _file(name: str, header: list[str], lines: list[Line]) -> StreamingHttpResponse:
    return _streamed(name, header, files.roll_forward_rows(lines))


def _streamed(name: str, header: list[str], rows: Any) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(files.written(header, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


# --- what pages share -------------------------------------------------------------------------------------
def _page(
    request: HttpRequest, template: str, *, title: Any, status: int = 200, **context: Any
) -> TemplateResponse:
    everything = {
        **admin.site.each_context(request),
        "title": title,
        "zone": clock.programme_zone(),
        "copies": standing.copies(),
        "can_compare": request.user.has_perm("backoffice.view_control_room"),
        **context,
    }
    return TemplateResponse(request, f"admin/finance/{template}", everything, status=status)


def _month(text: str, now: datetime) -> Any:
    try:
        return calendar.month_from(text, now=now)
    except calendar.DateRefused as error:
        raise Http404(_("There is no such month.")) from error


def _table(lines: Sequence[Line]) -> dict[str, Any]:
    """The columns in which anything moved, and for each line its points in them: the file has all columns."""
    kinds = [kind for kind in KINDS if any(line.moved.get(kind) for line in lines)]
    return {
        "columns": [COLUMNS[kind] for kind in kinds],
        "lines": [(line, [line.moved.get(kind, 0) for kind in kinds]) for line in lines],
    }


def _by_reason(found: Month) -> Iterator[tuple[Check, Line]]:
    """Each reason's check beside its line; a reason may be in the lots alone where something is wrong."""
    known = {line.reason: line for line in found.reasons}
    for check in found.checks[1:]:
        yield check, known.get(check.reason, Line(month=found.total.month, opening=0))


# --- drawings ---------------------------------------------------------------------------------------------
def _drawn_months(found: RollForward) -> SafeString | None:
    months = found.months[-_DRAWN_MONTHS:]
    if not months:
        return None
    labels = [f"{each.month:%Y-%m}" for each in months]
    shown = {
        _("Closing"): [each.closing for each in months],
        _("Earned"): [each.moved.get(EntryKind.EARN, 0) for each in months],
        _("Spent"): [-each.moved.get(EntryKind.SPEND, 0) for each in months],
        _("Expired"): [-each.moved.get(EntryKind.EXPIRE, 0) for each in months],
    }
    return charts.line(
        title=_("Points by month: closing, earned, spent and expired"),
        labels=labels,
        series=[charts.Series(name=name, values=values) for name, values in shown.items()],
    )


def _drawn_reasons(lines: Any) -> SafeString | None:
    held = sorted(((line.closing, line.reason) for line in lines if line.closing > 0), reverse=True)
    if not held:
        return None
    return charts.bar(
        title=_("Closing by reason"),
        labels=[reason for _closing, reason in held],
        values=[closing for closing, _reason in held],
    )


def _drawn_ages(found: Liability) -> SafeString | None:
    if not found.ages:
        return None
    points = {each.months: each.points for each in found.ages}
    ages = range(max(points) + 1)
    return charts.bar(
        title=_("Points by months since they were earned"),
        labels=[str(age) for age in ages],
        values=[points.get(age, 0) for age in ages],
    )


def _drawn_expiries(found: Liability) -> SafeString | None:
    points = {each.month: each.points for each in found.expiries if each.month}
    if not points:
        return None
    months = calendar.months_between(min(points), max(points))[:_DRAWN_MONTHS]
    return charts.bar(
        title=_("Points by the month in which they expire"),
        labels=[f"{month:%Y-%m}" for month in months],
        values=[points.get(month, 0) for month in months],
    )
