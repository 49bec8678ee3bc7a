"""A member of the reference legacy, as a test speaks of one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from legacy_bridge.errors import Refused, RefusedFact
from legacy_bridge.giving import give
from legacy_bridge.records import (
    BY_LEGACY,
    ByLegacy,
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    LegacyBalance,
    LegacyLot,
    SpendRequest,
)
from legacy_bridge.reference import ReferenceAdapter, clock
from legacy_bridge.sessions import session

SEOUL = ZoneInfo("Asia/Seoul")


def seoul(text: str) -> datetime:
    """`2026-03-01 12:00` in Seoul, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=SEOUL).astimezone(UTC)


def stand_at(text: str) -> None:
    """Stop the legacy's clock at a local moment."""
    with session() as opened:
        clock.stop_at(opened, local=datetime.fromisoformat(text))


def run_query(statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with session() as opened:
        return opened.query(statement, parameters or [])


class Member:
    def __init__(self, adapter: ReferenceAdapter, number: str = "") -> None:
        self.adapter = adapter
        self.number = number or f"M-{secrets.token_hex(8)}"

    def earn(
        self,
        points: int,
        *,
        until: str | ByLegacy | None = BY_LEGACY,
        reason: str = "ORDER_REWARD",
        reference: str | None = None,
        operation_id: UUID | None = None,
    ) -> Decision:
        return self._give(
            EarnRequest(
                operation_id=operation_id or uuid4(),
                account_number=self.number,
                points=points,
                reason=reason,
                reference=reference,
                expires_at=seoul(until) if isinstance(until, str) else until,
            )
        )

    def spend(
        self, points: int, *, reference: str | None = None, operation_id: UUID | None = None
    ) -> Decision:
        return self._give(self.spend_request(points, reference=reference, operation_id=operation_id))

    def spend_request(
        self, points: int, *, reference: str | None = None, operation_id: UUID | None = None
    ) -> SpendRequest:
        return SpendRequest(
            operation_id=operation_id or uuid4(),
            account_number=self.number,
            points=points,
            reason="ORDER_PAYMENT",
            reference=reference,
        )

    def cancel_spend(self, spend: Decision, points: int, *, operation_id: UUID | None = None) -> Decision:
        return self._cancel(spend, points, is_of_spend=True, operation_id=operation_id)

    def cancel_earn(self, earn: Decision, points: int, *, operation_id: UUID | None = None) -> Decision:
        return self._cancel(earn, points, is_of_spend=False, operation_id=operation_id)

    def _cancel(
        self, cancelled: Decision, points: int, *, is_of_spend: bool, operation_id: UUID | None
    ) -> Decision:
        assert cancelled.row_id is not None
        return self._give(
            CancelRequest(
                operation_id=operation_id or uuid4(),
                account_number=self.number,
                points=points,
                reason="ORDER_CANCELLED",
                reference=None,
                is_of_spend=is_of_spend,
                cancelled_row_id=cancelled.row_id,
                cancelled_points=cancelled.points,
                already_cancelled_points=0,
            )
        )

    def _give(self, request: EarnRequest | SpendRequest | CancelRequest) -> Decision:
        with session() as opened:
            return give(self.adapter, opened, request)

    def balance(self, *, before: str = "2100-01-01") -> LegacyBalance:
        with session() as opened:
            return self.adapter.balance(opened, account_number=self.number, expiring_before=seoul(before))

    @property
    def available(self) -> int:
        return self.balance().available

    def lots(self, *, with_ended: bool = False) -> list[LegacyLot]:
        with session() as opened:
            return list(self.adapter.lots(opened, account_number=self.number, with_ended=with_ended))

    @property
    def remaining(self) -> list[int]:
        return [lot.remaining for lot in self.lots(with_ended=True)]

    def history(self, *, before: str | None = None, limit: int = 100) -> list[HistoryRow]:
        with session() as opened:
            return list(
                self.adapter.history(opened, account_number=self.number, before_row_id=before, limit=limit)
            )

    @property
    def story(self) -> list[tuple[str, int, int | None]]:
        """Kind, points and balance after each row, oldest first."""
        return [(row.kind.value, row.points, row.balance_after) for row in reversed(self.history())]

    def trace(self) -> tuple[Any, ...]:
        """All that the legacy keeps of the member: what a refusal must not change."""
        return (self.history(), self.lots(with_ended=True), self.balance())


def refused(call: Any, *arguments: Any, **options: Any) -> RefusedFact | None:
    """The fact for which a call is refused, or None where it is not."""
    try:
        call(*arguments, **options)
    except Refused as refusal:
        return refusal.fact
    return None


def points_of(decision: Decision) -> list[int]:
    assert decision.shares is not None
    return [share.points for share in decision.shares]
