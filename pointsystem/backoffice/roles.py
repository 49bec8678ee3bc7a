"""The roles of the back office, as groups. What a role may do is what this module says.

After every `migrate` the six groups have exactly these permissions. Whoever needs another mixture makes a
group of their own, which is left alone (docs/adr/0030-the-back-office.md).
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from django.apps import AppConfig
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.utils.translation import gettext_lazy as _

SUPPORT: Final = "support"
SUPPORT_LEAD: Final = "support lead"
OPERATOR: Final = "operator"
APPROVER: Final = "approver"
FINANCE: Final = "finance"
AUDITOR: Final = "auditor"

#: What was posted to accounts, and why.
_LEDGER_VIEWS: Final = (
    "ledger.view_account",
    "ledger.view_accountstatuschange",
    "ledger.view_debt",
    "ledger.view_entry",
    "ledger.view_inboxitem",
    "ledger.view_lot",
    "ledger.view_operation",
    "ledger.view_reason",
    "ledger.view_reasonpolicy",
)
_CLIENT_VIEWS: Final = ("ledger.view_client", "ledger.view_apikey", "ledger.view_clientactivity")
#: Every model of the cutover can be looked at by those who look after it.
_CUTOVER_VIEWS: Final = ("cutover.view_*",)
_PEOPLE_VIEWS: Final = ("auth.view_user", "auth.view_group")


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A name, what its people do (a sentence for the landing page), and their permissions."""

    name: str
    title: Any
    does: Any
    permissions: tuple[str, ...]


ROLES: Final = (
    Role(
        name=SUPPORT,
        title=_("Support"),
        does=_("You find accounts, explain them, and move points with a reason."),
        permissions=("backoffice.view_accounts", "backoffice.move_points", *_LEDGER_VIEWS),
    ),
    Role(
        name=SUPPORT_LEAD,
        title=_("Support lead"),
        does=_("You also block accounts, grant points to many at once, and approve what others ask for."),
        permissions=(
            "backoffice.view_accounts",
            "backoffice.move_points",
            "backoffice.block_account",
            "backoffice.approve_request",
            "backoffice.mass_grant",
            *_LEDGER_VIEWS,
        ),
    ),
    Role(
        name=OPERATOR,
        title=_("Operator"),
        does=_("You run the cutover, and keep the clients of the API, the reasons and their policies."),
        permissions=(
            "backoffice.view_accounts",
            "backoffice.view_control_room",
            "backoffice.operate_cutover",
            "backoffice.manage_clients",
            "backoffice.manage_reasons",
            *_LEDGER_VIEWS,
            *_CLIENT_VIEWS,
            *_CUTOVER_VIEWS,
        ),
    ),
    Role(
        name=APPROVER,
        title=_("Approver"),
        does=_("You are the second person: for large amounts, and for plans of the cutover."),
        permissions=(
            "backoffice.view_accounts",
            "backoffice.approve_request",
            "backoffice.view_control_room",
            "backoffice.approve_cutover",
            *_LEDGER_VIEWS,
            *_CUTOVER_VIEWS,
        ),
    ),
    Role(
        name=FINANCE,
        title=_("Finance"),
        does=_("You close the month: the roll-forward by reason, and what is owed by age."),
        permissions=("backoffice.view_finance", "backoffice.view_accounts", *_LEDGER_VIEWS),
    ),
    Role(
        name=AUDITOR,
        title=_("Auditor"),
        does=_("You see everything, who did it and why, and change nothing."),
        permissions=(
            "backoffice.view_accounts",
            "backoffice.view_control_room",
            "backoffice.view_finance",
            "backoffice.view_audit",
            *_LEDGER_VIEWS,
            *_CLIENT_VIEWS,
            *_CUTOVER_VIEWS,
            *_PEOPLE_VIEWS,
        ),
    ),
)
_TITLES: Final = {role.name: role.title for role in ROLES}
ROLE_NAMES: Final = tuple(role.name for role in ROLES)


def title_of(name: str) -> Any:
    """What a role is called on a page; a group of one's own by its name."""
    return _TITLES.get(name, name)


def settle(*, using: str = "default") -> None:
    """Give the six groups exactly the permissions of their roles; make those groups that are not there.

    Permissions of apps that are not installed, or not migrated yet, are left out. Idempotent.
    """
    permissions: dict[str, Permission] = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.using(using).select_related("content_type")
    }
    with transaction.atomic(using=using):
        for role in ROLES:
            group, _made = Group.objects.using(using).get_or_create(name=role.name)
            group.permissions.set(
                found
                for full_name, found in permissions.items()
                if any(fnmatchcase(full_name, pattern) for pattern in role.permissions)
            )


def settle_after_migrate(sender: AppConfig, using: str, apps: Any, **_: Any) -> None:
    """Permissions are made after migrations, not in them: so are the roles that name them."""
    try:
        apps.get_model("auth", "Group")
        apps.get_model("backoffice", "AuditEntry")
    except LookupError:
        # Only some apps were migrated, and ours is not among them yet.
        return
    settle(using=using)


def roles_of(user: Any) -> list[Role]:
    """The roles that `user` has, in the order of this module."""
    names = set(user.groups.values_list("name", flat=True))
    return [role for role in ROLES if role.name in names]
