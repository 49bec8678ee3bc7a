"""Cursor pages: there and back, and what is no cursor."""

from typing import Any

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import World, balance_path, history_path, lots_path

#: No base 64 of text; too many parts; a number beyond any place; one below.
FORGED = ("AAAA", "-_-_", "bnxhfGJ8Y3xk", "cHw5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "bnwtMQ")


def walked(w: World, path: str, members: forms.Members | None, size: int) -> list[list[Any]]:
    """The rows of each page from the first to the last, having gone back from each to the one before."""
    joint = "&" if "?" in path else "?"
    page = w.api.page(f"{path}{joint}page_size={size}", members)
    equal("previous of the first page", page["previous"], None, w.last_exchange)
    pages = [page["data"]]
    while page["next"] is not None:
        page = w.api.page(f"{path}{joint}page_size={size}&cursor={page['next']}", members)
        back = w.api.page(f"{path}{joint}page_size={size}&cursor={page['previous']}", members)
        equal("the page before", back["data"], pages[-1], w.last_exchange)
        pages.append(page["data"])
    return pages


@case(needs=[Capability.HISTORY])
def history_is_walked_there_and_back(w: World) -> None:
    """next and previous lead through a history without losing or repeating a line."""
    account = w.account_with(*range(1, 8))
    pages = walked(w, history_path(account), forms.LINE, 3)
    got = [[line["points"] for line in page] for page in pages]
    equal("points of each page", got, [[7, 6, 5], [4, 3, 2], [1]], w.last_exchange)


@case(needs=[Capability.LOTS])
def lots_are_walked_there_and_back(w: World) -> None:
    """next and previous lead through the lots without losing or repeating one."""
    account = w.account_with(*range(1, 8))
    pages = walked(w, lots_path(account), forms.LOT, 3)
    got = [[lot["points"] for lot in page] for page in pages]
    equal("points of each page", got, [[1, 2, 3], [4, 5, 6], [7]], w.last_exchange)


@case()
def operations_are_walked_there_and_back(w: World) -> None:
    """next and previous lead through the operations of a reference, oldest first."""
    reference = w.reference()
    account = w.account_with(*range(1, 8), reference=reference)
    pages = walked(w, f"/api/v1/operations?reference={reference}", None, 3)
    got = [[row["points"] for row in page] for page in pages]
    equal("points of each page", got, [[1, 2, 3], [4, 5, 6], [7]], w.last_exchange)
    equal("accounts", {row["account_number"] for page in pages for row in page}, {account}, w.last_exchange)


@case(needs=[Capability.HISTORY])
def a_page_does_not_shift(w: World) -> None:
    """A cursor names a place: what is added meanwhile moves no line from one page to another."""
    account = w.account_with(1, 2, 3, 4)
    first = w.api.page(f"{history_path(account)}?page_size=2", forms.LINE)
    w.earned(account, 5)
    second = w.api.page(f"{history_path(account)}?page_size=2&cursor={first['next']}", forms.LINE)
    equal("points of the second page", [line["points"] for line in second["data"]], [2, 1], w.last_exchange)


@case(needs=[Capability.HISTORY])
def a_page_has_50_lines_unless_told(w: World) -> None:
    """A page has 50 lines, or as many as page_size says, up to 200."""
    account = w.account_with(*[1] * 51)
    sizes = [len(w.api.history(account, query)) for query in ("", "?page_size=1", "?page_size=200")]
    equal("lines by default, with 1 and with 200", sizes, [50, 1, 51], w.last_exchange)


@case(needs=[Capability.HISTORY])
def the_last_full_page_has_no_next(w: World) -> None:
    """Where a page ends with the last line, next is null."""
    account = w.account_with(1, 2)
    page = w.api.page(f"{history_path(account)}?page_size=2", forms.LINE)
    got = [len(page["data"]), page["next"], page["previous"]]
    equal("[lines, next, previous]", got, [2, None, None], w.last_exchange)


@case(needs=[Capability.HISTORY])
def a_forged_cursor_of_a_history_is_refused(w: World) -> None:
    """A cursor that no history gave is refused, and never an error of the server."""
    path = history_path(w.account_with(1))
    for cursor in FORGED:
        forms.invalid(w.api.get(f"{path}?cursor={cursor}"), cursor="invalid")
    forms.invalid(w.api.get(f"{path}?cursor=a%20b"), cursor="bad_format")
    forms.invalid(w.api.get(f"{path}?cursor="), cursor="bad_format")


@case(needs=[Capability.LOTS])
def a_forged_cursor_of_lots_is_refused(w: World) -> None:
    """A cursor that no list of lots gave is refused, and never an error of the server."""
    path = lots_path(w.account_with(1))
    for cursor in FORGED:
        forms.invalid(w.api.get(f"{path}?cursor={cursor}"), cursor="invalid")


@case()
def a_forged_cursor_of_operations_is_refused(w: World) -> None:
    """A cursor that no list of operations gave is refused, and never an error of the server."""
    for cursor in FORGED:
        exchange = w.api.get(f"/api/v1/operations?reference={w.reference()}&cursor={cursor}")
        forms.invalid(exchange, cursor="invalid")


@case(needs=[Capability.HISTORY, Capability.LOTS])
def the_cursor_of_another_list_is_refused(w: World) -> None:
    """The cursor of a history is none of a list of lots."""
    account = w.account_with(1, 2, 3)
    page = w.api.page(f"{history_path(account)}?page_size=1", forms.LINE)
    forms.invalid(w.api.get(f"{lots_path(account)}?cursor={page['next']}"), cursor="invalid")


@case()
def page_sizes_are_read_strictly(w: World) -> None:
    """page_size is a plain number from 1 to 200."""
    account = w.account()
    paths = [
        f"{history_path(account)}?",
        f"{lots_path(account)}?",
        f"/api/v1/operations?reference={w.reference()}&",
    ]
    for path in paths:
        for size in ("0", "-1", "201", "1000000000", "010", "1e2", "1.0", "%2B5", "", "%D9%A1", "ten"):
            forms.invalid(w.api.get(f"{path}page_size={size}"), page_size="bad_format")


@case()
def unknown_parameters_are_refused(w: World) -> None:
    """A query parameter that does not exist, or stands twice, is refused by every read."""
    account, reference = w.account(), w.reference()
    paths = [
        f"{balance_path(account)}?",
        f"{history_path(account)}?",
        f"{lots_path(account)}?",
        f"/api/v1/operations?reference={reference}&",
        f"/api/v1/operations/{w.key()}?",
    ]
    for path in paths:
        for name in ("limit", "account__client", "order_by", "Cursor"):
            forms.invalid(w.api.get(f"{path}{name}=1"), **{name: "unknown_field"})
    twice = w.api.get(f"{history_path(account)}?page_size=1&page_size=1")
    forms.invalid(twice, page_size="repeated")
