"""Pages of the back office beside Django's own: each says its address, its permission and its place.

An area of the back office (support, control room, finance) has a module `pages` that calls `register`, and is
imported by `pointsystem.backoffice.admin`. So the addresses, the menu, the landing page and the test of
permissions all come from one list.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path

SUPPORT: Final = "support"
CUTOVER: Final = "cutover"
FINANCE: Final = "finance"
SETTINGS: Final = "settings"
PEOPLE: Final = "people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One address below /admin/, closed to whoever has none of its permissions."""

    route: str
    name: str
    view: Callable[..., HttpResponseBase]
    #: Whoever has one of them may come in (`backoffice.view_accounts`).
    permissions: tuple[str, ...]
    group: str
    #: In the menu and on the landing page under this title; None for pages that others lead to.
    title: Any = None
    #: One sentence for the landing page: what one can do there.
    does: Any = ""

    def is_open_to(self, user: Any) -> bool:
        return any(user.has_perm(permission) for permission in self.permissions)


_pages: dict[str, Page] = {}


class PageRegisteredTwice(Exception):
    """Two pages with one name."""


def register(*pages: Page) -> None:
    """Add `pages` to the back office. Raises PageRegisteredTwice."""
    for page in pages:
        if page.name in _pages:
            raise PageRegisteredTwice(page.name)
        _pages[page.name] = page


def registered() -> list[Page]:
    return list(_pages.values())


def urls(*, wrap: Callable[[Callable[..., HttpResponseBase]], Any]) -> list[URLPattern]:
    """The addresses of all pages; `wrap` is the site's `admin_view`, which asks who it is."""
    return [path(page.route, wrap(_guarded(page)), name=page.name) for page in _pages.values()]


def _guarded(page: Page) -> Callable[..., HttpResponseBase]:
    def view(request: HttpRequest, *arguments: Any, **keywords: Any) -> HttpResponseBase:
        if not page.is_open_to(request.user):
            raise PermissionDenied
        return page.view(request, *arguments, **keywords)

    return update_wrapper(view, page.view)
