"""The addresses of the support desk in the back office."""

from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice.pages import SUPPORT, Page, register
from pointsystem.backoffice.support.views import accounts, mass_grants, moves, requests

_SEE = ("backoffice.view_accounts",)
_MOVE = ("backoffice.move_points",)
_MASS = ("backoffice.mass_grant",)

register(
    Page(
        route="support/find/",
        name="support_search",
        view=accounts.search_page,
        permissions=_SEE,
        group=SUPPORT,
        title=_("Find an account"),
        does=_("See where an account's points came from and went to, and move points."),
    ),
    Page(
        route="support/accounts/<str:account_number>/",
        name="support_account",
        view=accounts.account,
        permissions=_SEE,
        group=SUPPORT,
    ),
    Page(
        route="support/accounts/<str:account_number>/<slug:kind>/",
        name="support_move",
        view=moves.move_account,
        permissions=("backoffice.move_points", "backoffice.block_account"),
        group=SUPPORT,
    ),
    Page(
        route="support/operations/<uuid:operation_id>/",
        name="support_operation",
        view=accounts.operation,
        permissions=_SEE,
        group=SUPPORT,
    ),
    Page(
        route="support/operations/<uuid:operation_id>/cancel/",
        name="support_cancel",
        view=moves.cancel,
        permissions=_MOVE,
        group=SUPPORT,
    ),
    Page(
        route="support/lots/<uuid:lot_id>/",
        name="support_lot",
        view=accounts.lot,
        permissions=_SEE,
        group=SUPPORT,
    ),
    Page(
        route="support/requests/",
        name="support_requests",
        view=requests.request_list,
        permissions=_SEE,
        group=SUPPORT,
        title=_("Requests"),
        does=_("Large amounts wait here for a second person."),
    ),
    Page(
        route="support/requests/<int:request_id>/",
        name="support_request",
        view=requests.request_detail,
        permissions=_SEE,
        group=SUPPORT,
    ),
    Page(
        route="support/mass-grants/",
        name="support_mass_grants",
        view=mass_grants.mass_grant_list,
        permissions=_MASS,
        group=SUPPORT,
        title=_("Mass grants"),
        does=_("Grant points to many accounts from a file, with a preview and a result per row."),
    ),
    Page(
        route="support/mass-grants/<int:mass_grant_id>/",
        name="support_mass_grant",
        view=mass_grants.mass_grant,
        permissions=(*_MASS, "backoffice.approve_request"),
        group=SUPPORT,
    ),
    Page(
        route="support/mass-grants/<int:mass_grant_id>/results.csv",
        name="support_mass_grant_results",
        view=mass_grants.mass_grant_results,
        permissions=(*_MASS, "backoffice.approve_request"),
        group=SUPPORT,
    ),
)
