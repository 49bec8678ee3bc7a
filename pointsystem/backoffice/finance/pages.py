"""The addresses of finance in the back office."""

from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice.finance import views
from pointsystem.backoffice.pages import FINANCE, Page, register

_SEE = ("backoffice.view_finance",)

register(
    Page(
        route="finance/",
        name="finance_roll_forward",
        view=views.roll_forward_page,
        permissions=_SEE,
        group=FINANCE,
        title=_("Monthly roll-forward"),
        does=_("Opening, what moved, closing: by month and by reason, and how it ties to the lots."),
    ),
    Page(
        route="finance/roll-forward.csv",
        name="finance_roll_forward_file",
        view=views.roll_forward_file,
        permissions=_SEE,
        group=FINANCE,
    ),
    Page(
        route="finance/months/<str:month>/",
        name="finance_month",
        view=views.month_page,
        permissions=_SEE,
        group=FINANCE,
    ),
    Page(
        route="finance/liability/",
        name="finance_liability",
        view=views.liability_page,
        permissions=_SEE,
        group=FINANCE,
        title=_("What is owed"),
        does=_("Points that are left in lots on a day, by age and by the month in which they expire."),
    ),
    Page(
        route="finance/liability/by-<slug:table>.csv",
        name="finance_liability_file",
        view=views.liability_file,
        permissions=_SEE,
        group=FINANCE,
    ),
)
