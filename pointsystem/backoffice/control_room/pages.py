"""The addresses of the control room in the back office."""

from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice.control_room import assigning, views
from pointsystem.backoffice.pages import CUTOVER, Page, register

_SEE = ("backoffice.view_control_room",)

register(
    Page(
        route="control-room/",
        name="control_room",
        view=views.room,
        permissions=_SEE,
        group=CUTOVER,
        title=_("Control room"),
        does=_("See who decides, what is on its way and what is wrong, and take the next step."),
    ),
    Page(
        route="control-room/act/<slug:name>/",
        name="control_room_act",
        view=views.act,
        permissions=("backoffice.operate_cutover", "backoffice.approve_cutover"),
        group=CUTOVER,
    ),
    Page(
        route="control-room/assign/",
        name="control_room_assign",
        view=assigning.assign,
        permissions=_SEE,
        group=CUTOVER,
    ),
    Page(
        route="control-room/assignments/<int:order_id>/",
        name="control_room_assignment",
        view=assigning.assignment,
        permissions=_SEE,
        group=CUTOVER,
    ),
    Page(
        route="control-room/doubts/<uuid:operation_id>/",
        name="control_room_doubt",
        view=views.doubt,
        permissions=_SEE,
        group=CUTOVER,
    ),
    Page(
        route="control-room/month/",
        name="control_room_month",
        view=views.month,
        permissions=_SEE,
        group=CUTOVER,
    ),
    Page(
        route="control-room/journal.csv",
        name="control_room_journal",
        view=views.journal,
        permissions=_SEE,
        group=CUTOVER,
    ),
)
