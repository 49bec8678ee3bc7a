"""The members whose ledger is corrupted, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection

from ledger import clock, operations, policies
from ledger.commands import Earn
from ledger.models import AccountStatus, Reason, ReasonPolicy
from ledger.records import OperationRecord
from ledger.verification import Report, verify
from tests.factories import idempotency_key
from tests.ledger.member import NOON, Member, days_later, refusal_of


@dataclass(kw_only=True)
class Story:
    """Anna earns, spends, cancels and gives; Ben is given; Cleo owes; Dora is blocked; Eve cancels."""

    anna: Member
    ben: Member
    cleo: Member
    dora: Member
    eve: Member
    spend: OperationRecord
    #: What other tests had committed before.
    figures_before: dict[str, int]

    @classmethod
    def tell(cls) -> Story:
        clock.set_simulated(instant=NOON)
        before = verify(guards=False, cache=False).figures
        reason = Reason.objects.create(code="OWING", label="owing", kinds=["earn"])
        ReasonPolicy.objects.create(reason=reason, version=1, validity_days=None, clawback="debt")
        policies.forget()
        anna = Member()
        ben, cleo, dora, eve = (Member(client_id=anna.client_id) for _ in range(4))
        anna.earns(100, expires_at=NOON + timedelta(days=10))
        days_later(0.1)
        anna.earns(50, expires_at=None)
        days_later(0.1)
        spend = anna.spends(120)
        anna.cancels(spend, 30)
        anna.gives(15, to=ben)
        refusal_of(anna.spends, 1000)
        earned = anna.earns(7, expires_at=NOON + timedelta(days=20))
        anna.cancels(earned, 3)
        owed = cleo.earns(40, reason="OWING")
        cleo.spends(40)
        cleo.cancels(owed)
        days_later(0.1)
        cleo.earns(25, reason="OWING")
        dora.earns(10, expires_at=NOON + timedelta(days=2))
        days_later(3)
        dora.earns(10, expires_at=None)
        _earn_that_lapses_in_the_inbox(Member(client_id=anna.client_id))
        operations.accept(
            Earn(
                client_id=dora.client_id,
                idempotency_key=idempotency_key(),
                account_number=dora.number,
                points=5,
                reason="EVENT",
            )
        )
        operations.change_account_status(
            account_number=dora.number, status=AccountStatus.BLOCKED, note="asked", actor="support"
        )
        eve.earns(10, expires_at=days_later(0.1) + timedelta(days=9))
        eve.earns(10, expires_at=None)
        eve.cancels(eve.spends(15), 5)
        return cls(anna=anna, ben=ben, cleo=cleo, dora=dora, eve=eve, spend=spend, figures_before=before)

    def run(self, *statements: str, unguarded: Sequence[str] = ()) -> None:
        """Run `statements` on the tables with their triggers off; names in braces are members."""
        numbers = {name: f"'{getattr(self, name).number}'" for name in ("anna", "ben", "cleo", "dora", "eve")}
        with connection.cursor() as cursor:
            for table in unguarded:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            for statement in statements:
                cursor.execute(statement.format(**numbers))
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table in unguarded:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    def verify(self, **options: Any) -> Report:
        return verify(**{"cache": False} | options)


def _earn_that_lapses_in_the_inbox(member: Member) -> None:
    operations.accept(
        Earn(
            client_id=member.client_id,
            idempotency_key=idempotency_key(),
            account_number=member.number,
            points=5,
            reason="EVENT",
            expires_at=clock.now() + timedelta(hours=1),
        )
    )
    days_later(0.1)
    operations.drain_inbox(account_numbers=[member.number])
