"""The menu and the landing page: pages and models by what people come for, not by where they are built."""

from dataclasses import dataclass
from typing import Any, Final

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice import pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    slug: str
    title: Any
    #: `app_label.ModelName`, in order; `app_label.*` for the rest of an app.
    models: tuple[str, ...] = ()


LEDGER: Final = "ledger"
GROUPS: Final = (
    Group(slug=pages.SUPPORT, title=_("Support"), models=("ledger.Account", "ledger.Operation")),
    Group(slug=pages.CUTOVER, title=_("Cutover"), models=("cutover.*",)),
    Group(slug=pages.FINANCE, title=_("Finance")),
    Group(
        slug=LEDGER,
        title=_("Ledger"),
        models=(
            "ledger.Entry",
            "ledger.Lot",
            "ledger.Debt",
            "ledger.AccountStatusChange",
            "ledger.InboxItem",
        ),
    ),
    Group(
        slug=pages.SETTINGS,
        title=_("Settings"),
        models=("ledger.Reason", "ledger.Client", "ledger.ClientActivity"),
    ),
    Group(slug=pages.PEOPLE, title=_("People"), models=("auth.User", "auth.Group", "backoffice.AuditEntry")),
    Group(slug="more", title=_("More"), models=("*.*",)),
)


def grouped(*, app_list: list[Any], user: Any) -> list[dict[str, Any]]:
    """Django's list of apps, put into the groups, each beginning with its pages; empty groups left out.

    A model that no group names comes under More, so that nothing that is registered is hidden.
    """
    models = {
        f"{app['app_label']}.{model['object_name']}": model for app in app_list for model in app["models"]
    }
    result = []
    for group in GROUPS:
        taken = [name for pattern in group.models for name in list(models) if _matches(name, pattern)]
        rows = [_row(page) for page in pages.registered() if _is_shown(page, group, user)]
        rows += [models.pop(name) for name in taken]
        if rows:
            result.append(
                {
                    "name": group.title,
                    "app_label": group.slug,
                    "app_url": f"{reverse('admin:index')}#{group.slug}",
                    "has_module_perms": True,
                    "models": rows,
                }
            )
    return result


def _is_shown(page: pages.Page, group: Group, user: Any) -> bool:
    return page.group == group.slug and page.title is not None and page.is_open_to(user)


def _matches(name: str, pattern: str) -> bool:
    app_label, _dot, model = pattern.partition(".")
    return app_label in ("*", name.partition(".")[0]) and model in ("*", name.partition(".")[2])


def _row(page: pages.Page) -> dict[str, Any]:
    """A page in the form in which Django's templates show a model."""
    return {
        "name": page.title,
        "object_name": page.name,
        "admin_url": reverse(f"admin:{page.name}"),
        "add_url": None,
        "view_only": True,
        "perms": {"view": True},
        "does": page.does,
    }
