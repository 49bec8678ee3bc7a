"""The same questions to the model and to the real ledger, and everything they answer compared.

Each history is one transaction on real PostgreSQL that is rolled back at its end, with account
numbers, clients and reasons of its own, on the simulated clock.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger import clock, expiry, operations, policies, queries
from ledger.commands import UNSET, Adjust, Cancel, Command, Earn, Spend, Transfer
from ledger.database import fetch_all
from ledger.errors import InsufficientPoints, Refusal
from ledger.models import AccountStatus, Client, Reason, ReasonPolicy
from ledger.records import OperationRecord, Outcome
from ledger.verification import verify
from tests.ledger.properties import model
from tests.ledger.properties.model import BY_POLICY, DONE, Answer, Model, Rule

#: At how many instants of its past each account is read, and a moment before and after.
AS_OF_INSTANTS = 8
#: Earns of an account at one instant are microseconds apart, of which the model knows nothing: steps that
#: write stand further apart than that, and times are compared as exactly.
A_MOMENT = timedelta(milliseconds=10)
A_BIT = timedelta(milliseconds=1)
START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ACCOUNTS = ("A", "B", "C")
CLIENTS = ("shop", "voucher")

#: Every pair of restore and clawback, with short validities, so that lots lapse within a history.
EARNING_RULES = {
    "PLAIN": Rule(1, True, "original", 7, "within_balance"),
    "STRICT": Rule(2, False, "original", 7, "reject"),
    "OWING": Rule(2, True, "original", 7, "debt"),
    "KIND": Rule(1, False, "grace", 1, "within_balance"),
    "KIND_STRICT": Rule(3, True, "grace", 2, "reject"),
    "KIND_OWING": Rule(1, True, "grace", 7, "debt"),
    "EVER": Rule(None, True, "grace", 7, "debt"),
}
OTHER_REASONS = {
    "ORDER_PAYMENT": {"spend"},
    "GIFT": {"spend", "transfer"},
    "ORDER_CANCELLED": {"earn_cancel", "spend_cancel"},
}

_LOTS = """
SELECT account.account_number, lot.id, lot.points, coalesce(open.remaining, 0), lot.earned_at, lot.expires_at,
    reason.code, lot.origin_id
FROM ledger_lot AS lot
JOIN ledger_account AS account ON account.id = lot.account_id
JOIN ledger_reason AS reason ON reason.id = lot.reason_id
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE account.account_number = ANY (%s)
ORDER BY lot.id
"""

_histories = count(1)

account_labels = st.sampled_from(ACCOUNTS)
client_names = st.sampled_from(CLIENTS)
earning_reasons = st.sampled_from(sorted(EARNING_RULES))
#: Small amounts meet each other's edges; a few large ones cross them all.
amounts = st.one_of(st.integers(1, 12), st.integers(1, 12), st.integers(30, 200))
steps = st.sampled_from([timedelta(hours=hours) for hours in (1, 9, 15, 24, 48, 200)])
#: When an earned lot lapses: by policy, never, that long from now, or (refused) at this very instant.
lapses = st.one_of(
    st.just(BY_POLICY),
    st.just(BY_POLICY),
    st.none(),
    st.sampled_from([timedelta(hours=1), timedelta(days=1), timedelta(days=5), timedelta(0)]),
)
#: Which of the earlier operations or keys: the last ones are the most telling.
picks = st.integers(0, 30)


class LedgerMachine(RuleBasedStateMachine):
    """`model` is the plain one, the ledger is the real one; `pairs` ties their operations."""

    def __init__(self) -> None:
        super().__init__()
        # The limits of a request are not those of a history, which is one transaction: a machine that stalls
        # says nothing about the ledger. They end with the test's own transaction around all histories.
        with connection.cursor() as cursor:
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                cursor.execute(f"SET LOCAL {name} = 0")
        self._transaction = transaction.atomic()
        self._transaction.__enter__()
        self.history = next(_histories)
        self.keys = count(1)
        policies.forget()
        self.clients = {
            name: Client.objects.create(name=f"{name}-of-history-{self.history}").id for name in CLIENTS
        }
        self.model = Model(now=START, zone=clock.programme_zone(), reasons=self._create_reasons())
        self.used: list[tuple[str, dict[str, Any]]] = []
        self.ids: dict[int, UUID] = {}
        #: Lot ids of each account in order, as last read.
        self.lot_ids: dict[str, list[UUID]] = {}
        #: Answers whose lots are still to be compared, once the lots were read after the step.
        self.shown: list[tuple[OperationRecord, model.Operation]] = []
        #: To whom somebody tried to give.
        self.receivers: set[str] = set()
        self.written_at: datetime | None = None
        self._set_clock(START)

    def _create_reasons(self) -> dict[str, model.Reason]:
        wanted = {code: ({"earn", "adjust"}, rule) for code, rule in EARNING_RULES.items()}
        reasons = {}
        for code, (kinds, first) in wanted.items():
            reason = Reason.objects.create(code=code, label=code, kinds=sorted(kinds))
            self._insert_policy(reason.id, 1, first)
            reasons[code] = model.Reason(kinds, [first])
        for code, kinds in OTHER_REASONS.items():
            reasons[code] = model.Reason(set(kinds), [EARNING_RULES["PLAIN"]])
        return reasons

    def _insert_policy(self, reason_id: int, version: int, given: Rule) -> None:
        ReasonPolicy.objects.create(
            reason_id=reason_id,
            version=version,
            validity_days=given.validity_days,
            expiry_rounding="end_of_day" if given.to_end_of_day else "none",
            restore=given.restore,
            grace_days=given.grace_days,
            clawback=given.clawback,
        )
        policies.forget()

    # --- asking both --------------------------------------------------------------------------------
    def number(self, label: str) -> str:
        return f"h{self.history}-{label}"

    def _ask(self, client: str, item: dict[str, Any]) -> None:
        expected = self.model.ask(client=client, **item)
        command = self._command(client, item)
        try:
            answer: Outcome | Refusal = operations.execute(command)
        except Refusal as refusal:
            answer = refusal
        self.written_at = self.model.now
        self.used.append((client, item))
        self._compare(expected, answer, command)

    def _command(self, client: str, item: dict[str, Any]) -> Command:
        key = {"client_id": self.clients[client], "idempotency_key": item["key"]}
        kind = item["kind"]
        if kind == "earn" or kind == "adjust":
            command_type = Earn if kind == "earn" else Adjust
            return command_type(
                account_number=self.number(item["account"]),
                points=item["points"],
                reason=item["reason"],
                expires_at=UNSET if item["expires_at"] == BY_POLICY else item["expires_at"],
                **key,
            )
        if kind == "spend":
            return Spend(
                account_number=self.number(item["account"]),
                points=item["points"],
                reason=item["reason"],
                **key,
            )
        if kind == "transfer":
            self.receivers.add(item["receiver"])
            return Transfer(
                from_account_number=self.number(item["giver"]),
                to_account_number=self.number(item["receiver"]),
                points=item["points"],
                reason=item["reason"],
                **key,
            )
        return Cancel(
            cancelled_operation_id=UUID(int=7) if item["target"] is None else self.ids[item["target"]],
            points=item["points"],
            reason=item["reason"],
            any_client=item["any_client"],
            **key,
        )

    def _compare(self, expected: Answer, answer: Outcome | Refusal, command: Command) -> None:
        note(f"model: {expected.code}, ledger: {answer!r}")
        if isinstance(answer, Refusal):
            assert answer.code == expected.code, f"the ledger refused ({answer}), the model: {expected}"
            if expected.operation is None:
                assert answer.operation_id is None
            elif expected.is_replayed:
                assert answer.operation_id == self.ids[expected.operation.number]
            else:
                assert answer.operation_id == command.operation_id
                self.ids[expected.operation.number] = command.operation_id
            assert answer.is_replayed == expected.is_replayed
            return
        assert expected.code == DONE, f"the ledger did it, the model refuses: {expected.code}"
        operation = expected.operation
        assert operation is not None
        assert answer.is_replayed == expected.is_replayed
        if not answer.is_replayed:
            assert answer.operation.id == command.operation_id
            self.ids[operation.number] = answer.operation.id
        self._compare_record(answer.operation, operation, cancellable=expected.cancellable)

    def _compare_record(
        self, record: OperationRecord, operation: model.Operation, *, cancellable: int
    ) -> None:
        assert record.id == self.ids[operation.number]
        assert record.kind == operation.kind
        assert record.account_number == self.number(operation.account)
        assert record.cancellable_points == cancellable
        if operation.code != DONE:
            assert record.state == "failed"
            assert record.refusal is not None
            assert record.refusal["code"] == operation.code
            return
        assert record.state == "completed"
        assert record.points == operation.points
        assert record.balance_after == operation.balance_after
        assert record.uncollected_points == operation.uncollected
        assert record.cancels == (None if operation.cancels is None else self.ids[operation.cancels])
        self.shown.append((record, operation))

    def _key(self) -> str:
        return f"key-{next(self.keys)}"

    def _instant(self, lapse: Any) -> Any:
        return self.model.now + lapse if isinstance(lapse, timedelta) else lapse

    def _set_clock(self, instant: datetime) -> None:
        self.model.now = instant
        clock.set_simulated(instant=instant)

    def _stir(self) -> None:
        """No step writes at an instant at which another wrote."""
        if self.written_at == self.model.now:
            self._set_clock(self.model.now + A_MOMENT)

    def _earn_item(self, account: str, points: int, reason: str, lapse: Any) -> dict[str, Any]:
        self._stir()
        return {
            "kind": "earn",
            "key": self._key(),
            "account": account,
            "points": points,
            "reason": reason,
            "expires_at": self._instant(lapse),
        }

    def _spend_item(self, account: str, points: int) -> dict[str, Any]:
        self._stir()
        body = {"account": account, "points": points, "reason": "ORDER_PAYMENT"}
        return {"kind": "spend", "key": self._key(), **body}

    def _cancel_item(self, pick: int, points: int | None, *, any_client: bool = True) -> dict[str, Any]:
        self._stir()
        target = len(self.model.operations) - 1 - pick % len(self.model.operations)
        return {
            "kind": "cancel",
            "key": self._key(),
            "target": target,
            "points": points,
            "reason": None,
            "any_client": any_client,
        }

    def _transfer_item(self, giver: str, receiver: str, points: int) -> dict[str, Any]:
        self._stir()
        return {
            "kind": "transfer",
            "key": self._key(),
            "giver": giver,
            "receiver": receiver,
            "points": points,
            "reason": "GIFT",
        }

    # --- what happens -------------------------------------------------------------------------------
    @initialize(first=account_labels, points=amounts, reason=earning_reasons)
    def begin(self, first: str, points: int, reason: str) -> None:
        self._ask("shop", self._earn_item(first, points, reason, BY_POLICY))

    @rule(client=client_names, account=account_labels, points=amounts, reason=earning_reasons, lapse=lapses)
    def earn(self, client: str, account: str, points: int, reason: str, lapse: Any) -> None:
        self._ask(client, self._earn_item(account, points, reason, lapse))

    @rule(client=client_names, account=account_labels, points=amounts)
    def spend(self, client: str, account: str, points: int) -> None:
        self._ask(client, self._spend_item(account, points))

    @rule(account=account_labels, client=client_names)
    def spend_all(self, account: str, client: str) -> None:
        available = self.model.available(account)
        self._ask(client, self._spend_item(account, available or 1))

    @precondition(lambda self: self.model.operations)
    @rule(pick=picks, points=st.one_of(st.none(), amounts))
    def cancel(self, pick: int, points: int | None) -> None:
        self._ask("shop", self._cancel_item(pick, points))

    @precondition(lambda self: any(self.model.cancellable(operation) for operation in self.model.operations))
    @rule(pick=picks, share=st.sampled_from([1, 2, 3]))
    def cancel_a_part(self, pick: int, share: int) -> None:
        """A part of something that can be cancelled: a blind pick mostly hits what cannot."""
        open_ones = [operation for operation in self.model.operations if self.model.cancellable(operation)]
        target = open_ones[-1 - pick % len(open_ones)]
        item = self._cancel_item(0, max(1, self.model.cancellable(target) // share))
        item["target"] = target.number
        self._ask(target.client, {**item, "any_client": False})

    @precondition(lambda self: self.model.operations)
    @rule(pick=picks, client=client_names, is_known=st.booleans(), points=amounts)
    def cancel_what_is_not_there_for_it(self, pick: int, client: str, is_known: bool, points: int) -> None:
        """An operation of another client, or none at all: the answer is the same."""
        item = self._cancel_item(pick, points, any_client=not is_known)
        self._ask(client, item if is_known else {**item, "target": None})

    @rule(giver=account_labels, receiver=account_labels, points=amounts)
    def transfer(self, giver: str, receiver: str, points: int) -> None:
        self._ask("voucher", self._transfer_item(giver, receiver, points))

    @rule(account=account_labels, points=amounts, sign=st.sampled_from([1, -1]), reason=earning_reasons)
    def adjust(self, account: str, points: int, sign: int, reason: str) -> None:
        item = self._earn_item(account, sign * points, reason, BY_POLICY)
        self._ask("shop", {**item, "kind": "adjust"})

    @rule(account=account_labels, points=amounts)
    def ask_for_the_wrong_reason(self, account: str, points: int) -> None:
        self._ask("shop", {**self._spend_item(account, points), "reason": "PLAIN"})
        self._ask("shop", self._earn_item(account, points, "UNHEARD_OF", BY_POLICY))

    @precondition(lambda self: self.used)
    @rule(pick=picks)
    def send_again(self, pick: int) -> None:
        client, item = self.used[-1 - pick % len(self.used)]
        self._ask(client, item)

    @precondition(lambda self: self.used)
    @rule(pick=picks, account=account_labels)
    def reuse_a_key(self, pick: int, account: str) -> None:
        client, item = self.used[-1 - pick % len(self.used)]
        self._ask(client, {**self._spend_item(account, 999), "key": item["key"]})

    @rule(
        client=client_names,
        account=account_labels,
        other=account_labels,
        points=st.lists(amounts, min_size=4, max_size=4),
        order=st.permutations(range(6)),
        pick=picks,
        repeated=st.sampled_from([None, 0, 3]),
    )
    def batch(
        self,
        client: str,
        account: str,
        other: str,
        points: list[int],
        order: list[int],
        pick: int,
        repeated: int | None,
    ) -> None:
        items = [
            self._earn_item(account, points[0], "KIND_OWING", BY_POLICY),
            self._spend_item(account, points[1]),
            self._spend_item(other, points[2]),
            self._cancel_item(pick, None),
            self._transfer_item(account, other, points[3]),
            self._earn_item(other, points[0], "PLAIN", None),
        ]
        items = [items[index] for index in order]
        if repeated is not None:
            items.append(items[repeated])
        expected = self.model.ask_all(client=client, items=items)
        commands = [self._command(client, item) for item in items]
        answers = operations.execute_all(commands, deadline_seconds=math.inf)
        self.written_at = self.model.now
        assert len(answers) == len(items)
        self.used += [(client, item) for item in items[:6]]
        for expectation, answer, command in zip(expected, answers, commands, strict=True):
            self._compare(expectation, answer, command)

    @rule(
        account=account_labels,
        points=amounts,
        reason=earning_reasons,
        lapse=st.sampled_from([BY_POLICY, None, timedelta(hours=2)]),
        waits=st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=1), timedelta(days=3)]),
        pick=picks,
    )
    def accept_and_drain(
        self, account: str, points: int, reason: str, lapse: Any, waits: timedelta, pick: int
    ) -> None:
        """Respond-async: an earn and a cancel wait in the inbox, and are done in order, later."""
        items = [self._earn_item(account, points, reason, lapse)]
        open_ones = [operation for operation in self.model.operations if self.model.cancellable(operation)]
        if open_ones:
            target = open_ones[-1 - pick % len(open_ones)]
            items.append({**self._cancel_item(0, 1), "target": target.number})
        commands = [self._command("shop", item) for item in items]
        for command in commands:
            assert isinstance(command, Earn | Cancel)
            assert operations.accept(command).operation.state == "accepted"
        accepted_at = self.model.now
        self._set_clock(accepted_at + waits)
        operations.drain_inbox(account_numbers=[self.number(label) for label in ACCOUNTS])
        self.written_at = self.model.now
        for item, command in zip(items, commands, strict=True):
            expected = self.model.ask(client="shop", judged_at=accepted_at, **item)
            self.used.append(("shop", item))
            assert expected.operation is not None
            self.ids[expected.operation.number] = command.operation_id
            record = queries.find_operation(
                operation_id=command.operation_id, client_id=command.client_id, any_client=False
            )
            cancellable = self.model.cancellable(expected.operation)
            self._compare_record(record, expected.operation, cancellable=cancellable)

    @precondition(lambda self: self.model.accounts)
    @rule(account=account_labels, status=st.sampled_from(["blocked", "open", "open", "open", "closed"]))
    def change_status(self, account: str, status: str) -> None:
        held = self.model.accounts.get(account)
        if held is None or held.status == status or held.status == "closed":
            return
        self.model.set_status(account, status)
        operations.change_account_status(
            account_number=self.number(account),
            status=AccountStatus(status),
            note="as the test says",
            actor="test",
        )

    @rule(step=steps)
    def time_passes(self, step: timedelta) -> None:
        self._set_clock(self.model.now + step)

    @rule(back=st.sampled_from([timedelta(0), timedelta(hours=12)]))
    def expire_points(self, back: timedelta) -> None:
        self._stir()
        expiry.expire_points(as_of=self.model.now - back)
        self.written_at = self.model.now
        self._compare_lots(settled_until=self.model.now - back)

    @precondition(lambda self: self.model.now < START + timedelta(days=60))
    @rule(reason=earning_reasons, days=st.integers(1, 5), to_end_of_day=st.booleans())
    def change_a_policy(self, reason: str, days: int, to_end_of_day: bool) -> None:
        """The next version turns everything round; lots that are there keep the old one."""
        before = self.model.reasons[reason].in_force
        after = Rule(
            days,
            to_end_of_day,
            "grace" if before.restore == "original" else "original",
            days,
            {"reject": "within_balance", "within_balance": "debt", "debt": "reject"}[before.clawback],  # type: ignore[arg-type]
        )
        versions = self.model.reasons[reason].versions
        versions.append(after)
        self._insert_policy(Reason.objects.get(code=reason).id, len(versions), after)

    # --- what must be equal after every step --------------------------------------------------------
    @invariant()
    def lots_agree(self) -> None:
        self._compare_lots()

    @rule(account=account_labels)
    def read_the_balance(self, account: str) -> None:
        balance = queries.balance(account_number=self.number(account))
        assert balance.available == self.model.available(account)
        next_expiry = balance.next_expiry and (balance.next_expiry.points, balance.next_expiry.at)
        assert next_expiry == self.model.next_expiry(account)

    @rule(account=account_labels, points=amounts)
    def preview_a_spend(self, account: str, points: int) -> None:
        """The preview names the very lots that a spend then takes."""
        if self.model.available(account) < points:
            with pytest.raises(InsufficientPoints):
                queries.spend_preview(account_number=self.number(account), points=points)
            return
        preview = queries.spend_preview(account_number=self.number(account), points=points)
        assert preview.available == self.model.available(account)
        assert preview.available_after == preview.available - points
        item = self._spend_item(account, points)
        expected = self.model.ask(client="shop", **item)
        self.used.append(("shop", item))
        if expected.code == "account_blocked":
            # Whether the account may spend is for the spend to say.
            with contextlib.suppress(Refusal):
                operations.execute(command := self._command("shop", item))
            assert expected.operation is not None
            self.ids[expected.operation.number] = command.operation_id
            return
        outcome = operations.execute(command := self._command("shop", item))
        self._compare(expected, outcome, command)
        assert list(outcome.operation.lots or ()) == list(preview.lots)

    def _compare_lots(self, settled_until: datetime | None = None) -> None:
        rows = fetch_all(_LOTS, [[self.number(label) for label in ACCOUNTS]])
        stored = {label: [row for row in rows if row[0] == self.number(label)] for label in ACCOUNTS}
        self.lot_ids = {label: [row[1] for row in stored[label]] for label in ACCOUNTS}
        names = {lot: (label, index) for label, ids in self.lot_ids.items() for index, lot in enumerate(ids)}
        for label in ACCOUNTS:
            held = self.model.accounts[label].lots if label in self.model.accounts else []
            assert len(stored[label]) == len(held)
            for row, lot in zip(stored[label], held, strict=True):
                facts = (row[2], row[5], row[6], names[row[7]] if row[7] else None)
                assert facts == (lot.points, lot.expires_at, lot.reason, lot.origin)
                assert lot.earned_at <= row[4] < lot.earned_at + A_BIT
                self._compare_remaining(row[3], lot, settled_until)
        for record, operation in self.shown:
            assert [(names[share.lot], share.points) for share in record.lots or ()] == operation.lot_names
        self.shown.clear()

    def _compare_remaining(self, remaining: int, lot: model.Lot, settled_until: datetime | None) -> None:
        if lot.is_live(self.model.now):
            assert remaining == lot.left, f"{remaining} remain in lot {lot.name}, the model says {lot.left}"
        elif settled_until is not None and not lot.is_live(settled_until):
            assert remaining == 0, f"{remaining} remain in lot {lot.name}, which the expire job has settled"
        else:
            assert remaining in (0, lot.left)

    def teardown(self) -> None:
        """At the end everything is read and proved once more; then the history is forgotten."""
        try:
            if self.model.operations:
                self._read_it_all_back()
                expiry.expire_points()
                self._compare_lots(settled_until=self.model.now)
                with connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    cursor.execute("SET CONSTRAINTS ALL DEFERRED")
                report = verify(guards=False, cache=False)
                assert not report.breaches, "\n".join(breach.sentence() for breach in report.breaches)
        finally:
            transaction.set_rollback(True)
            self._transaction.__exit__(None, None, None)
            policies.forget()

    def _read_it_all_back(self) -> None:
        numbers = [self.number(label) for label in ACCOUNTS]
        opened = fetch_all(
            "SELECT account_number FROM ledger_account WHERE account_number = ANY (%s)", [numbers]
        )
        # What was refused has opened no account; only a stored refusal of a gift names its receiver.
        for (number,) in opened:
            label = number.removeprefix(self.number(""))
            assert label in self.model.accounts or label in self.receivers
        assert len(opened) >= len(self.model.accounts)
        for operation in self.model.operations:
            record = queries.find_operation(
                operation_id=self.ids[operation.number],
                client_id=self.clients[operation.client],
                any_client=False,
            )
            self._compare_record(record, operation, cancellable=self.model.cancellable(operation))
        for label, held in self.model.accounts.items():
            lines = queries.history_page(account_number=self.number(label), page_size=200).data
            if len(lines) < 200:
                told = [(line.kind, line.points) for line in reversed(lines) if line.kind != "expire"]
                assert told == [(entry.kind, entry.points) for entry in held.entries]
            instants = {entry.at for entry in held.entries} | {
                lot.expires_at for lot in held.lots if lot.expires_at is not None
            }
            written = Counter(entry.at for entry in held.entries)
            for instant in sorted(instants)[:: max(1, len(instants) // AS_OF_INSTANTS)]:
                # Of several earns at an instant, not all are there yet.
                exactly = [instant] if written[instant] < 2 else []
                for moment in (instant - A_BIT, *exactly, instant + A_BIT):
                    if moment <= self.model.now:
                        read = queries.balance_as_of(account_number=self.number(label), as_of=moment)
                        assert read.available == self.model.available_as_of(label, moment)
