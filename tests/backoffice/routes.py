"""All addresses of the back office, as Django knows them, and real things to put into them."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, reverse
from django.urls.exceptions import NoReverseMatch

from ledger.models import Client, Entry, Lot, Operation, Reason
from pointsystem.backoffice.models import AuditEntry
from tests.ledger.member import Member


def names() -> list[str]:
    """The name of each address; those without a name are counted as `unnamed`."""
    return [pattern.name or "unnamed" for pattern in _patterns(admin.site.get_urls())]


def _patterns(patterns: list[Any]) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern
        else:
            yield from _patterns(pattern.url_patterns)


class Things:
    """One of each kind: an account that earned and spent, and the rows that a new database has."""

    def __init__(self, member: Member) -> None:
        member.earns(10)
        spent = member.spends(4)
        entry = Entry.objects.filter(account__account_number=member.number).first()
        lot = Lot.objects.get(account__account_number=member.number)
        user = User.objects.create(username="somebody")
        client = Client.objects.get(id=member.client_id)
        assert entry is not None
        self.rows: dict[str, Any] = {
            "ledger_account": entry.account_id,
            "ledger_operation": spent.id,
            "ledger_entry": entry.id,
            "ledger_lot": lot.id,
            "ledger_client": client.id,
            "ledger_reason": Reason.objects.get(code="REVIEW").id,
            "auth_user": user.id,
            "auth_group": Group.objects.get(name="auditor").id,
            "backoffice_auditentry": getattr(AuditEntry.objects.first(), "id", 0),
        }
        self.values: dict[str, Any] = {
            "account_number": member.number,
            "operation_id": Operation.objects.get(id=spent.id).id,
            "lot_id": lot.id,
            "user_id": user.id,
            "id": user.id,
            "client_id": client.id,
            "kind": "grant",
            "table": "age",
            "month": "2026-03",
            "app_label": "ledger",
            "content_type_id": 1,
        }

    def address(self, name: str) -> str:
        """The address of that name. What there is none of yet is asked for by 0, which nothing is."""
        for pattern in _patterns(admin.site.get_urls()):
            if pattern.name == name:
                wanted = pattern.pattern.regex.groupindex  # type: ignore[attr-defined]
                converters = getattr(pattern.pattern, "converters", {})
                needed = {*wanted, *converters}
                values = {each: self._value(name, each) for each in needed}
                return reverse(f"admin:{name}", kwargs=values)
        # A pattern inside an include carries the whole name, so this is a name that is not there.
        raise NoReverseMatch(name)

    def _value(self, name: str, parameter: str) -> Any:
        if parameter == "object_id":
            return self.rows.get(name.rpartition("_")[0], 0)
        return self.values.get(parameter, 0)
