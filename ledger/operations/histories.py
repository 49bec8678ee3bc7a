"""Posting the whole history of accounts that the ledger has never seen, thousands of rows at once.

`following` posts facts of any account, whatever stands there already. A migration has millions of them, and
nearly all are of accounts that stand nowhere yet and whose every movement can be posted just as it is told.
`follow` finds out in memory whether that is so of one account; `adopt` and `post` then write many of them by
columns, in a COPY and two statements. Nothing is inferred or repaired here, and the database checks what it
checks of every posting. The caller holds what keeps others from these accounts.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, chain
from typing import Any, Final

from django.db import transaction
from msgspec import Struct

from ledger import policies
from ledger.balances import BalanceChange, announce
from ledger.database import copy_columns, fetch_all

#: The reason of lots for which the other side knows none of ours.
_REASON_OF_UNKNOWN: Final = "CORRECTION"
_TAKING: Final = frozenset({"spend", "earn_cancel", "expire"})

_COPY_OPERATIONS: Final = """
COPY ledger_operation (
    id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id, reference,
    recorded_at, cancels_id, balance_after, decided_elsewhere, counterpart_id, shares
) FROM STDIN
"""
_OPEN_ACCOUNTS: Final = """
INSERT INTO ledger_account (
    account_number, opened_at, status, sequence, balance, outstanding_debt, next_expiry_at, last_recorded_at
)
SELECT number, opened_at, 'open', sequence, balance, 0, next_expiry_at, last_recorded_at
FROM unnest(
    %s::text[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[]
) AS row(number, opened_at, sequence, balance, next_expiry_at, last_recorded_at)
ORDER BY number
RETURNING account_number, id
"""
_POST: Final = """
WITH new_entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, clock_timestamp()
    FROM unnest(
        %s::uuid[], %s::bigint[], %s::bigint[], %s::uuid[], %s::text[], %s::bigint[], %s::bigint[],
        %s::timestamptz[]
    ) AS row(id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at)
), new_lot AS (
    INSERT INTO ledger_lot (id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)
    SELECT id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id
    FROM unnest(
        %s::uuid[], %s::bigint[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],
        %s::smallint[], %s::integer[]
    ) AS row(id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)
), new_allocation AS (
    INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
    SELECT entry_id, position, lot_id, points
    FROM unnest(%s::uuid[], %s::integer[], %s::uuid[], %s::bigint[])
        AS row(entry_id, position, lot_id, points)
), open_lot AS (
    INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
    SELECT lot_id, account_id, remaining, points, earned_at, expires_at
    FROM unnest(
        %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[]
    ) AS row(lot_id, account_id, remaining, points, earned_at, expires_at)
)
INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
SELECT account_id, sequence, clock_timestamp()
FROM unnest(%s::bigint[], %s::bigint[]) AS row(account_id, sequence)
"""


class Past(Struct, frozen=True, kw_only=True, gc=False):
    """One movement that another side decided, and the operation that it is. `points` is signed; ids are the
    text of UUIDs, which is all that is done with them here."""

    operation_id: str
    entry_id: str
    kind: str
    points: int
    recorded_at: datetime
    #: Lots and points, always positive.
    shares: Sequence[tuple[str, int]]
    reason_id: int | None
    reference: str | None
    #: The operation that a cancel is of; it comes before.
    cancels_id: str | None
    #: The balance as the other side tells it.
    balance_after: int | None
    counterpart_id: str


class PastLot(Struct, kw_only=True, gc=False):
    """A lot that a movement granted, and what the later ones leave in it."""

    id: str
    points: int
    remaining: int
    entry_id: str
    earned_at: datetime
    expires_at: datetime | None
    reason_id: int | None


class History(Struct, frozen=True, kw_only=True, gc=False):
    """An account from its first movement to its last."""

    account_number: str
    facts: Sequence[Past]
    lots: Mapping[str, PastLot]


def follow(
    account_number: str, facts: Sequence[Past], *, expiries: Mapping[str, datetime | None]
) -> History | None:
    """The history that these movements are, in their order; None when one of them cannot be posted as it is
    told. `expiries` are those of the lots that earnings may grant."""
    lots: dict[str, PastLot] = {}
    for fact in facts:
        if fact.kind == "earn":
            is_plain = _grant(fact, lots, expiries)
        elif fact.kind == "spend_cancel":
            is_plain = _give_back(fact, lots)
        elif fact.kind in _TAKING:
            is_plain = _take(fact, lots)
        else:
            is_plain = False
        if not is_plain:
            return None
    return History(account_number=account_number, facts=facts, lots=lots)


def _grant(fact: Past, lots: dict[str, PastLot], expiries: Mapping[str, datetime | None]) -> bool:
    if len(fact.shares) != 1:
        return False
    lot_id, points = fact.shares[0]
    if points <= 0 or points != fact.points or lot_id in lots or lot_id not in expiries:
        return False
    lots[lot_id] = PastLot(
        id=lot_id,
        points=points,
        remaining=points,
        entry_id=fact.entry_id,
        earned_at=fact.recorded_at,
        expires_at=expiries[lot_id],
        reason_id=fact.reason_id,
    )
    return True


def _give_back(fact: Past, lots: Mapping[str, PastLot]) -> bool:
    total = 0
    for lot_id, points in fact.shares:
        lot = lots.get(lot_id)
        if lot is None or points <= 0 or lot.remaining + points > lot.points:
            return False
        lot.remaining += points
        total += points
    return total == fact.points and total > 0


def _take(fact: Past, lots: Mapping[str, PastLot]) -> bool:
    total = 0
    for lot_id, points in fact.shares:
        lot = lots.get(lot_id)
        if lot is None or not 0 < points <= lot.remaining:
            return False
        if fact.kind == "spend" and lot.expires_at is not None and lot.expires_at <= fact.recorded_at:
            # Taken from a lot that had lapsed: somebody should know (`following`).
            return False
        lot.remaining -= points
        total += points
    return total == -fact.points and total > 0


# --- writing --------------------------------------------------------------------------------------------
def adopt(histories: Sequence[History], *, client_id: int) -> None:
    """Write the operations, in the caller's transaction. Raises what the database refuses: one that is there
    already, too."""
    texts = _Texts()
    facts = [fact for history in histories for fact in history.facts]
    if not facts:
        return
    copy_columns(
        _COPY_OPERATIONS,
        [
            [fact.operation_id for fact in facts],
            [client_id] * len(facts),
            [f"legacy:{fact.counterpart_id}" for fact in facts],
            # No bytes: there was no body.
            [r"\x"] * len(facts),
            [fact.kind for fact in facts],
            ["completed"] * len(facts),
            [history.account_number for history in histories for _ in history.facts],
            [abs(fact.points) for fact in facts],
            [fact.reason_id for fact in facts],
            [fact.reference for fact in facts],
            [texts.of(fact.recorded_at) for fact in facts],
            [fact.cancels_id for fact in facts],
            [fact.balance_after for fact in facts],
            ["true"] * len(facts),
            [fact.counterpart_id for fact in facts],
            [_shares(fact, history, texts) for history in histories for fact in history.facts],
        ],
    )


def _shares(fact: Past, history: History, texts: "_Texts") -> str:
    lots = history.lots
    parts = [f'["{lot}",{points},{texts.json(lots[lot].expires_at)}]' for lot, points in fact.shares]
    return f"[{','.join(parts)}]"


def post(histories: Sequence[History]) -> None:
    """Open the accounts, and write their entries, lots and allocations and what is kept of them for speed, in
    the caller's transaction. The operations are there. Raises what the database refuses: an account that is
    open already, too."""
    histories = [history for history in histories if history.facts]
    if not histories:
        return
    texts = _Texts()
    ids = dict(fetch_all(_OPEN_ACCOUNTS, _accounts(histories, texts)))
    fetch_all(
        _POST,
        [
            *_entries(histories, ids, texts),
            *_lots(histories, ids, texts),
            *_allocations(histories),
            *_open_lots(histories, ids, texts),
            _array(ids[history.account_number] for history in histories),
            _array(len(history.facts) for history in histories),
        ],
    )
    changes = [
        BalanceChange(
            account_id=ids[history.account_number],
            account_number=history.account_number,
            sequence=len(history.facts),
        )
        for history in histories
    ]
    transaction.on_commit(lambda: announce(changes), robust=True)


def _accounts(histories: Sequence[History], texts: "_Texts") -> list[Any]:
    moments = [[fact.recorded_at for fact in history.facts] for history in histories]
    lapsing = [
        min((lot.expires_at for lot in history.lots.values() if lot.expires_at), default=None)
        for history in histories
    ]
    return [
        [history.account_number for history in histories],
        _array(texts.of(min(each)) for each in moments),
        _array(len(history.facts) for history in histories),
        _array(sum(fact.points for fact in history.facts) for history in histories),
        _array(texts.of(each) for each in lapsing),
        _array(texts.of(max(each)) for each in moments),
    ]


def _entries(histories: Sequence[History], ids: Mapping[str, int], texts: "_Texts") -> list[str]:
    facts = [fact for history in histories for fact in history.facts]
    return [
        _array(fact.entry_id for fact in facts),
        _array(ids[history.account_number] for history in histories for _ in history.facts),
        _array(chain.from_iterable(range(1, len(history.facts) + 1) for history in histories)),
        _array(fact.operation_id for fact in facts),
        _array(fact.kind for fact in facts),
        _array(fact.points for fact in facts),
        _array(
            chain.from_iterable(accumulate(fact.points for fact in history.facts) for history in histories)
        ),
        _array(texts.of(fact.recorded_at) for fact in facts),
    ]


def _lots(histories: Sequence[History], ids: Mapping[str, int], texts: "_Texts") -> list[str]:
    book = policies.current()
    unknown = book.reasons[_REASON_OF_UNKNOWN][1]
    policy_of = {reason_id: book.reasons[code][1] for reason_id, code in book.codes.items()}
    lots = [lot for history in histories for lot in history.lots.values()]
    chosen = [policy_of.get(lot.reason_id or 0, unknown) for lot in lots]
    return [
        _array(lot.id for lot in lots),
        _array(ids[history.account_number] for history in histories for _ in history.lots),
        _array(lot.entry_id for lot in lots),
        _array(lot.points for lot in lots),
        _array(texts.of(lot.earned_at) for lot in lots),
        _array(texts.of(lot.expires_at) for lot in lots),
        _array(policy.reason_id for policy in chosen),
        _array(policy.id for policy in chosen),
    ]


def _allocations(histories: Sequence[History]) -> list[str]:
    facts = [fact for history in histories for fact in history.facts]
    return [
        _array(fact.entry_id for fact in facts for _ in fact.shares),
        _array(chain.from_iterable(range(len(fact.shares)) for fact in facts)),
        _array(lot for fact in facts for lot, _ in fact.shares),
        _array(points if fact.points > 0 else -points for fact in facts for _, points in fact.shares),
    ]


def _open_lots(histories: Sequence[History], ids: Mapping[str, int], texts: "_Texts") -> list[str]:
    held = [
        (ids[history.account_number], lot)
        for history in histories
        for lot in history.lots.values()
        if lot.remaining
    ]
    return [
        _array(lot.id for _, lot in held),
        _array(account_id for account_id, _ in held),
        _array(lot.remaining for _, lot in held),
        _array(lot.points for _, lot in held),
        _array(texts.of(lot.earned_at) for _, lot in held),
        _array(texts.of(lot.expires_at) for _, lot in held),
    ]


class _Texts:
    """Moments as text, each made once: a row's is written in three tables, and lots lapse together."""

    def __init__(self) -> None:
        self._known: dict[datetime | None, str] = {None: "NULL"}

    def of(self, moment: datetime | None) -> str:
        text = self._known.get(moment)
        if text is None and moment is not None:
            text = self._known[moment] = moment.isoformat()
        return text or "NULL"

    def json(self, moment: datetime | None) -> str:
        return "null" if moment is None else f'"{self.of(moment)}"'


def _array(values: Iterable[Any]) -> str:
    """An array as PostgreSQL reads it from text; of numbers, moments and words, which need no quotes."""
    return f"{{{','.join(map(str, values))}}}"
