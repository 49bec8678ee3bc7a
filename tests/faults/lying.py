"""Adapters whose procedures do as they are told, and then answer with garbage where the reference says so.

`lie:<what>` lies in the answer of the call, `lie-always:<what>` also when it is asked afterwards. An account
whose number begins with `liar` has a balance and a history that cannot be true; of one that begins with
`blind` no row is found when it is asked what became of a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from legacy_bridge.records import Decision, HistoryRow, LegacyBalance
from legacy_bridge.reference import adapters as reference
from tests.legacy_bridge.adapters import exceptions, signals, status_strings

LIES: dict[str, Any] = {
    "nothing": lambda decision: None,
    "text": lambda decision: "S|0000|OK",
    "negative": lambda decision: replace(decision, points=-decision.points),
    "other-points": lambda decision: replace(decision, points=decision.points + 1),
    "null-points": lambda decision: replace(decision, points=None),
    "text-points": lambda decision: replace(decision, points=str(decision.points)),
    "negative-balance": lambda decision: replace(decision, balance_after=-1),
    "other-account": lambda decision: replace(decision, account_number="somebody-else"),
    "no-zone": lambda decision: replace(decision, recorded_at=datetime(2026, 1, 1)),  # noqa: DTZ001
    "year-9000": lambda decision: replace(decision, recorded_at=datetime(9000, 1, 1, tzinfo=UTC)),
    "null-moment": lambda decision: replace(decision, recorded_at=None),
    "number-as-row": lambda decision: replace(decision, row_id=17),
    "half-shares": lambda decision: replace(decision, shares=(decision.shares or ("x",))[:0]),
    "raises": lambda decision: {}["no such column"],
}


class Lies:
    def _told(self, decision: Any, told: str | None) -> Any:
        beginning, _, lie = (told or "").partition(":")
        return LIES[lie](decision) if beginning in ("lie", "lie-always") else decision

    def earn(self, session: Any, request: Any) -> Decision:
        return self._told(super().earn(session, request), request.reference)  # type: ignore[misc]

    def spend(self, session: Any, request: Any) -> Decision:
        return self._told(super().spend(session, request), request.reference)  # type: ignore[misc]

    def find_by_operation_id(
        self, session: Any, *, operation_id: UUID, account_number: str
    ) -> Decision | None:
        found = super().find_by_operation_id(  # type: ignore[misc]
            session, operation_id=operation_id, account_number=account_number
        )
        if found is None:
            return None
        rows = self.rows_by_id(session, [found.row_id])  # type: ignore[attr-defined]
        always = [row.reference for row in rows if (row.reference or "").startswith("lie-always")]
        return self._told(found, always[0]) if always else found

    def rows_after(self, session: Any, **asked: Any) -> Sequence[HistoryRow]:
        if (asked.get("account_number") or "").startswith("blind"):
            return []
        rows = super().rows_after(session, **asked)  # type: ignore[misc]
        return [
            replace(row, recorded_at=None) if (row.reference or "").startswith("lie-always") else row
            for row in rows
        ]

    def balance(self, session: Any, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        told = super().balance(  # type: ignore[misc]
            session, account_number=account_number, expiring_before=expiring_before
        )
        if account_number.startswith("liar-text"):
            return "S|0000|OK"  # type: ignore[return-value]
        return replace(told, available=-5) if account_number.startswith("liar") else told

    def history(self, session: Any, *, account_number: str, **asked: Any) -> Sequence[HistoryRow]:
        rows = super().history(session, account_number=account_number, **asked)  # type: ignore[misc]
        if account_number.startswith("liar"):
            return [replace(row, points="many", recorded_at=None) for row in rows]
        return rows


class PostgreSQLReference(Lies, reference.PostgreSQLReference):
    pass


class MariaDBReference(Lies, reference.MariaDBReference):
    pass


class StatusStrings(Lies, status_strings.Adapter):
    pass


class Exceptions(Lies, exceptions.Adapter):
    pass


class Signals(Lies, signals.Adapter):
    pass
