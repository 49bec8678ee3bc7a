"""What can be proved of whole tables at once: each statement returns the rows that are wrong.

The first column, `"check"`, names the check that failed; the others are the numbers shown with it.
Nothing is read into this process but the first examples and their count.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`checks` maps each name that `sql` may return to (invariant, meaning)."""

    about: str
    checks: dict[str, tuple[str, str]] = field(hash=False)
    sql: str

    def with_examples(self) -> str:
        """The statement that gives the first %(examples)s rows of each check, and how many there are."""
        # Only constants of this package are put in.
        return f"""
SELECT * FROM (
    SELECT wrong.*, count(*) OVER (PARTITION BY "check") AS found_count,
        row_number() OVER (PARTITION BY "check") AS found_number
    FROM ({self.sql}) AS wrong
) AS numbered
WHERE found_number <= %(examples)s
"""  # noqa: S608


_ACCOUNTS = Statement(
    about="accounts against their entries, debts, open lots and status rows",
    checks={
        "account_balance_is_the_sum_of_its_entries": (
            "I1",
            "the balance kept on the account is the sum of its entries",
        ),
        "account_sequence_is_its_last_entry": (
            "I9",
            "the sequence kept on the account is the number of its entries",
        ),
        "entry_of_no_account": ("I4", "every entry belongs to an account"),
        "account_debt_is_the_sum_of_its_debts": (
            "I3",
            "outstanding_debt is what was incurred less what was settled",
        ),
        "account_next_expiry_bounds_its_lots": ("I5", "no open lot lapses before next_expiry_at"),
        "account_status_is_its_last_status_row": ("I14", "the status is that of the latest status row"),
        "account_recorded_at_is_its_last_entry": ("I9", "last_recorded_at is not before the last entry"),
        "stale_mark_is_not_ahead": ("I12", "the mark of a stale balance is not ahead of the account"),
    },
    sql="""
SELECT unnest(array_remove(ARRAY[
        CASE WHEN account.id IS NULL THEN 'entry_of_no_account' END,
        CASE WHEN account.balance <> coalesce(posted.points, 0)
            THEN 'account_balance_is_the_sum_of_its_entries' END,
        CASE WHEN account.sequence <> coalesce(posted.last, 0)
                OR account.sequence <> coalesce(posted.entries, 0)
            THEN 'account_sequence_is_its_last_entry' END,
        CASE WHEN account.outstanding_debt <> coalesce(debt.points, 0)
            THEN 'account_debt_is_the_sum_of_its_debts' END,
        CASE WHEN open.soonest IS NOT NULL AND coalesce(account.next_expiry_at > open.soonest, true)
            THEN 'account_next_expiry_bounds_its_lots' END,
        CASE WHEN account.status <> coalesce(status.status, 'open')
            THEN 'account_status_is_its_last_status_row' END,
        CASE WHEN account.last_recorded_at < posted.recorded_at
            THEN 'account_recorded_at_is_its_last_entry' END,
        CASE WHEN stale.sequence > account.sequence THEN 'stale_mark_is_not_ahead' END
    ], NULL)) AS "check",
    coalesce(account.id, posted.account_id) AS account_id, account.balance,
    posted.points AS points_of_entries, account.sequence, posted.last AS last_entry,
    posted.entries, account.outstanding_debt,
    debt.points AS points_of_debts, account.next_expiry_at, open.soonest AS soonest_open_lot, account.status,
    status.status AS last_status_row, account.last_recorded_at, posted.recorded_at AS last_entry_recorded_at,
    stale.sequence AS stale_mark
FROM ledger_account AS account
FULL JOIN (
    SELECT account_id, count(*) AS entries, max(sequence) AS last, sum(points)::bigint AS points,
        max(recorded_at) AS recorded_at
    FROM ledger_entry GROUP BY account_id
) AS posted ON posted.account_id = account.id
LEFT JOIN (
    SELECT account_id, sum(points)::bigint AS points FROM ledger_debt GROUP BY account_id
) AS debt ON debt.account_id = account.id
LEFT JOIN (
    SELECT account_id, min(expires_at) AS soonest FROM ledger_open_lot GROUP BY account_id
) AS open ON open.account_id = account.id
LEFT JOIN (
    SELECT DISTINCT ON (account_id) account_id, status FROM ledger_account_status ORDER BY account_id, id DESC
) AS status ON status.account_id = account.id
LEFT JOIN ledger_stale_balance AS stale ON stale.account_id = account.id
WHERE account.id IS NULL
    OR account.balance <> coalesce(posted.points, 0)
    OR account.sequence <> coalesce(posted.last, 0)
    OR account.sequence <> coalesce(posted.entries, 0)
    OR account.outstanding_debt <> coalesce(debt.points, 0)
    OR (open.soonest IS NOT NULL AND coalesce(account.next_expiry_at > open.soonest, true))
    OR account.status <> coalesce(status.status, 'open')
    OR account.last_recorded_at < posted.recorded_at
    OR stale.sequence > account.sequence
""",
)

_OPEN_LOTS = Statement(
    about="open lots against allocations",
    checks={
        "open_lot_is_what_remains": ("I1", "the open lot says what remains in the lot by its allocations"),
    },
    sql="""
SELECT 'open_lot_is_what_remains' AS "check", coalesce(open.lot_id, moved.lot_id) AS lot, open.account_id,
    open.remaining AS open_lot_remaining, moved.remaining::bigint AS remaining
FROM (
    SELECT lot_id, sum(points) AS remaining FROM ledger_allocation GROUP BY lot_id
) AS moved
FULL JOIN ledger_open_lot AS open ON open.lot_id = moved.lot_id
WHERE coalesce(open.remaining, 0) <> coalesce(moved.remaining, 0)
""",
)

_OPEN_LOT_FACTS = Statement(
    about="open lots against lots",
    checks={
        "open_lot_repeats_its_lot": ("I1", "the open lot has the account, points and instants of its lot"),
    },
    sql="""
SELECT 'open_lot_repeats_its_lot' AS "check", open.lot_id AS lot, open.account_id,
    lot.account_id AS account_of_lot, open.points, lot.points AS points_of_lot, open.expires_at,
    lot.expires_at AS expires_at_of_lot
FROM ledger_open_lot AS open LEFT JOIN ledger_lot AS lot ON lot.id = open.lot_id
WHERE lot.id IS NULL OR open.account_id <> lot.account_id OR open.points <> lot.points
    OR open.earned_at <> lot.earned_at OR open.expires_at IS DISTINCT FROM lot.expires_at
""",
)

# An earn that waited in the inbox until its lot had lapsed.
_EXPIRED_AT_ONCE = """
EXISTS (
    SELECT FROM ledger_allocation AS gone
    JOIN ledger_entry AS expiry ON expiry.id = gone.entry_id AND expiry.kind = 'expire'
    WHERE gone.lot_id = lot.id AND expiry.operation_id = entry.operation_id AND gone.points = -lot.points
)
"""

_LOT_FACTS = Statement(
    about="lots against the entries that granted them, and against their origins",
    checks={
        "lot_is_of_its_entry": (
            "I4",
            "a lot has the account and the instant of an entry that may grant lots",
        ),
        "lot_names_its_origin": (
            "I4",
            "the lots of transfers and of grace name their origin, those of repairs may, and no others",
        ),
        "lot_keeps_what_its_origin_was": (
            "I5",
            "a given lot keeps its expiry, and every derived one its reason and policy",
        ),
        "lot_lapses_after_it_was_earned": (
            "I5",
            "a lot that was granted after it had lapsed expired in the same operation",
        ),
        "lot_policy_is_of_its_reason": ("I14", "the policy of a lot is there, and one of its reason"),
    },
    sql=f"""
SELECT unnest(array_remove(ARRAY[
        CASE WHEN entry.id IS NULL OR entry.account_id <> lot.account_id OR entry.recorded_at <> lot.earned_at
                OR entry.kind NOT IN ('earn', 'transfer_in', 'adjust', 'spend_cancel')
            THEN 'lot_is_of_its_entry' END,
        CASE WHEN entry.kind <> 'adjust'
                    AND (lot.origin_id IS NOT NULL) <> (entry.kind IN ('transfer_in', 'spend_cancel'))
                OR (lot.origin_id IS NOT NULL AND origin.id IS NULL)
                OR (entry.kind IN ('adjust', 'spend_cancel') AND origin.account_id <> lot.account_id)
                OR (entry.kind = 'transfer_in' AND origin.account_id = lot.account_id)
            THEN 'lot_names_its_origin' END,
        CASE WHEN origin.id IS NOT NULL AND (
                origin.reason_id <> lot.reason_id OR origin.policy_id <> lot.policy_id
                OR (entry.kind = 'transfer_in' AND origin.expires_at IS DISTINCT FROM lot.expires_at)
            ) THEN 'lot_keeps_what_its_origin_was' END,
        CASE WHEN lot.expires_at <= lot.earned_at AND NOT ({_EXPIRED_AT_ONCE})
            THEN 'lot_lapses_after_it_was_earned' END,
        CASE WHEN policy.reason_id IS DISTINCT FROM lot.reason_id THEN 'lot_policy_is_of_its_reason' END
    ], NULL)) AS "check",
    lot.account_id, lot.id AS lot, lot.points, lot.earned_at, lot.expires_at, lot.origin_id AS origin,
    lot.entry_id AS entry, entry.kind, entry.recorded_at
FROM ledger_lot AS lot
LEFT JOIN ledger_entry AS entry ON entry.id = lot.entry_id
LEFT JOIN ledger_lot AS origin ON origin.id = lot.origin_id
LEFT JOIN ledger_reason_policy AS policy ON policy.id = lot.policy_id
WHERE entry.id IS NULL OR entry.account_id <> lot.account_id OR entry.recorded_at <> lot.earned_at
    OR entry.kind NOT IN ('earn', 'transfer_in', 'adjust', 'spend_cancel')
    OR entry.kind <> 'adjust'
        AND (lot.origin_id IS NOT NULL) <> (entry.kind IN ('transfer_in', 'spend_cancel'))
    OR (lot.origin_id IS NOT NULL AND (
        origin.id IS NULL
        OR (entry.kind IN ('adjust', 'spend_cancel') AND origin.account_id <> lot.account_id)
        OR (entry.kind = 'transfer_in' AND origin.account_id = lot.account_id)
        OR origin.reason_id <> lot.reason_id OR origin.policy_id <> lot.policy_id
        OR (entry.kind = 'transfer_in' AND origin.expires_at IS DISTINCT FROM lot.expires_at)
    ))
    OR (lot.expires_at <= lot.earned_at AND NOT ({_EXPIRED_AT_ONCE}))
    OR policy.reason_id IS DISTINCT FROM lot.reason_id
""",  # noqa: S608
)

STATEMENTS_OF_POSTINGS = (_ACCOUNTS, _OPEN_LOTS, _OPEN_LOT_FACTS, _LOT_FACTS)

# The replay counts what passes by, so these are only asked for the names when something did not.
ORPHANS = Statement(
    about="allocations against entries",
    checks={"allocation_of_no_entry": ("I4", "every allocation belongs to an entry")},
    sql="""
SELECT 'allocation_of_no_entry' AS "check", allocation.entry_id AS entry, allocation.lot_id AS lot,
    allocation.points
FROM ledger_allocation AS allocation
WHERE NOT EXISTS (SELECT FROM ledger_entry AS entry WHERE entry.id = allocation.entry_id)
""",
)

UNGRANTED = Statement(
    about="lots against the allocations that granted them",
    checks={"lot_has_its_grant": ("I4", "every lot was filled by the entry that it names")},
    sql="""
SELECT 'lot_has_its_grant' AS "check", lot.account_id, lot.id AS lot, lot.points, lot.entry_id AS entry
FROM ledger_lot AS lot
WHERE NOT EXISTS (
    SELECT FROM ledger_allocation AS allocation
    WHERE allocation.entry_id = lot.entry_id AND allocation.lot_id = lot.id
)
""",
)
