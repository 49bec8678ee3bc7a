"""Operations against what they posted: nothing without a cause, nothing twice, nothing half."""

from ledger.verification.statements import Statement

# One bit per kind of entry, so that what an operation posted is one number.
_KIND_BITS = """
CASE entry.kind WHEN 'earn' THEN 1 WHEN 'spend' THEN 2 WHEN 'earn_cancel' THEN 4 WHEN 'spend_cancel' THEN 8
    WHEN 'expire' THEN 16 WHEN 'transfer_out' THEN 32 WHEN 'transfer_in' THEN 64 WHEN 'adjust' THEN 128
    WHEN 'clawback' THEN 256 END
"""

# At most two entries, one of a kind: the highest and the lowest of their points tell both.
# An earn may settle a debt (clawback), or lapse at once after it waited in the inbox (expire); a restored
# lot may lapse at once too; a cancelled earn takes its own lots, others, or (all spent or lapsed) none.
_POSTED_AS_DEMANDED = """
CASE operation.kind
    WHEN 'earn' THEN posted.highest = operation.points
        AND (posted.kinds = 1 AND posted.entries = 1 OR posted.kinds = 257 AND posted.entries = 2
            OR posted.kinds = 17 AND posted.entries = 2 AND posted.lowest = -operation.points)
    WHEN 'spend' THEN posted.kinds = 2 AND posted.entries = 1 AND posted.lowest = -operation.points
    WHEN 'earn_cancel' THEN operation.points - coalesce(operation.uncollected_points, 0) >= CASE
        WHEN posted.entries IS NULL THEN 0
        WHEN posted.kinds IN (4, 256) AND posted.entries = 1 THEN -posted.lowest
        WHEN posted.kinds = 260 AND posted.entries = 2 THEN -posted.lowest - posted.highest
    END
    WHEN 'spend_cancel' THEN posted.highest = operation.points AND posted.lowest >= -operation.points
        AND (posted.kinds = 8 AND posted.entries = 1 OR posted.kinds = 24 AND posted.entries = 2)
    WHEN 'transfer' THEN posted.kinds = 96 AND posted.entries = 2 AND posted.highest = operation.points
        AND posted.lowest = -operation.points
    WHEN 'adjust' THEN posted.kinds = 128 AND posted.entries = 1 AND posted.highest = operation.points
    -- Of what another side let lapse, some may have lapsed here before.
    WHEN 'expire' THEN posted.kinds = 16 AND posted.entries = 1 AND (
        posted.lowest = -operation.points
        OR operation.decided_elsewhere AND posted.lowest > -operation.points
    )
    ELSE false
END
"""

# What was decided elsewhere posts nothing here, until it is mirrored or migrated.
_IS_NOT_HERE = "(operation.decided_elsewhere AND posted.entries IS NULL)"

_ON_OTHER_ACCOUNTS = """
(
    posted.account_id <> posted.last_account_id OR account.account_number <> operation.account_number
    OR receiver.account_number IS DISTINCT FROM operation.to_account_number
)
"""

_POSTED = Statement(
    about="operations against their entries",
    checks={
        "completed_operation_posted_what_its_kind_demands": (
            "I14",
            "a completed operation has exactly the entries of its kind (decided elsewhere: or none)",
        ),
        "unfinished_operation_posted_nothing": ("I6", "an operation that is not completed has no entries"),
        "entry_of_no_operation": ("I14", "every entry belongs to an operation"),
        "entries_on_the_accounts_of_the_operation": (
            "I14",
            "entries are on the accounts that the operation names",
        ),
        "operation_tells_the_balance_after_it": (
            "I14",
            "balance_after of an operation is that of its last entry",
        ),
        "operation_and_entries_recorded_at_once": (
            "I14",
            "an operation and its entries have one recorded_at",
        ),
    },
    # Only the constants above are put in.
    sql=f"""
SELECT unnest(array_remove(ARRAY[
        CASE WHEN operation.id IS NULL THEN 'entry_of_no_operation' END,
        CASE WHEN operation.state = 'completed' AND NOT {_IS_NOT_HERE}
            AND NOT coalesce({_POSTED_AS_DEMANDED}, false)
            THEN 'completed_operation_posted_what_its_kind_demands' END,
        CASE WHEN operation.state <> 'completed' AND posted.entries > 0
            THEN 'unfinished_operation_posted_nothing' END,
        CASE WHEN operation.state = 'completed' AND {_ON_OTHER_ACCOUNTS}
            THEN 'entries_on_the_accounts_of_the_operation' END,
        -- Another side's balance may leave out what has lapsed and is still to be posted.
        CASE WHEN operation.state = 'completed' AND posted.balance_after <> operation.balance_after
            AND NOT operation.decided_elsewhere THEN 'operation_tells_the_balance_after_it' END,
        CASE WHEN operation.state = 'completed' AND (
                posted.first_recorded_at <> operation.recorded_at
                OR posted.last_recorded_at <> operation.recorded_at
            ) THEN 'operation_and_entries_recorded_at_once' END
    ], NULL)) AS "check",
    coalesce(operation.id, posted.operation_id) AS operation, operation.kind, operation.state,
    operation.account_number, operation.points, operation.uncollected_points, posted.entries, posted.highest,
    posted.lowest, operation.balance_after, posted.balance_after AS balance_after_of_entries,
    account.account_number AS entries_on, receiver.account_number AS given_to, operation.recorded_at,
    posted.last_recorded_at AS entries_recorded_at
FROM ledger_operation AS operation
FULL JOIN (
    SELECT entry.operation_id, count(*) AS entries, bit_or({_KIND_BITS}) AS kinds,
        max(entry.points) AS highest, min(entry.points) AS lowest,
        min(entry.balance_after) FILTER (WHERE entry.kind <> 'transfer_in') AS balance_after,
        min(entry.account_id) FILTER (WHERE entry.kind <> 'transfer_in') AS account_id,
        max(entry.account_id) FILTER (WHERE entry.kind <> 'transfer_in') AS last_account_id,
        min(entry.account_id) FILTER (WHERE entry.kind = 'transfer_in') AS to_account_id,
        min(entry.recorded_at) AS first_recorded_at, max(entry.recorded_at) AS last_recorded_at
    FROM ledger_entry AS entry
    GROUP BY entry.operation_id
) AS posted ON posted.operation_id = operation.id
LEFT JOIN ledger_account AS account ON account.id = posted.account_id
LEFT JOIN ledger_account AS receiver ON receiver.id = posted.to_account_id
WHERE operation.id IS NULL
    OR (operation.state <> 'completed' AND posted.entries > 0)
    OR (operation.state = 'completed' AND NOT {_IS_NOT_HERE} AND (
        NOT coalesce({_POSTED_AS_DEMANDED}, false)
        OR {_ON_OTHER_ACCOUNTS}
        OR posted.balance_after <> operation.balance_after AND NOT operation.decided_elsewhere
        OR posted.first_recorded_at <> operation.recorded_at
        OR posted.last_recorded_at <> operation.recorded_at
    ))
""",  # noqa: S608
)

_KEYS = Statement(
    about="idempotency keys",
    checks={"key_stands_for_one_operation": ("I8", "a key of a client stands for one operation")},
    sql="""
SELECT 'key_stands_for_one_operation' AS "check", client_id, idempotency_key, count(*) AS operations
FROM ledger_operation
GROUP BY client_id, idempotency_key
HAVING count(*) > 1
""",
)

_RELATIONS = Statement(
    about="what operations name without a foreign key",
    checks={
        "operation_names_a_client_and_a_reason": (
            "I14",
            "the client and the reason of an operation are there",
        ),
    },
    sql="""
SELECT 'operation_names_a_client_and_a_reason' AS "check", operation.id AS operation,
    operation.account_number, operation.client_id, operation.reason_id
FROM ledger_operation AS operation
LEFT JOIN ledger_client AS client ON client.id = operation.client_id
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE client.id IS NULL OR (operation.reason_id IS NOT NULL AND reason.id IS NULL)
""",
)

_CANCELS = Statement(
    about="cancels against what they cancel",
    checks={
        "cancelled_within_points": ("I8", "never more is cancelled than was earned or spent"),
        "cancel_fits_what_it_cancels": (
            "I8",
            "a cancel names a completed earn or spend of its kind and account; another side's may name none",
        ),
    },
    sql="""
SELECT 'cancelled_within_points' AS "check", cancelled.id AS operation, cancelled.account_number,
    cancelled.kind, cancelled.points, sum(cancel.points)::bigint AS cancelled_points, count(*) AS cancels
FROM ledger_operation AS cancel JOIN ledger_operation AS cancelled ON cancelled.id = cancel.cancels_id
WHERE cancel.state = 'completed'
GROUP BY cancelled.id, cancelled.account_number, cancelled.kind, cancelled.points
HAVING sum(cancel.points) > cancelled.points
UNION ALL
SELECT 'cancel_fits_what_it_cancels', cancel.id, cancel.account_number, cancel.kind, cancel.points, NULL, NULL
FROM ledger_operation AS cancel LEFT JOIN ledger_operation AS cancelled ON cancelled.id = cancel.cancels_id
WHERE cancel.state = 'completed' AND cancel.kind IN ('earn_cancel', 'spend_cancel') AND (
    -- Another side may have lost what it cancelled.
    cancelled.id IS NULL AND (cancel.cancels_id IS NOT NULL OR NOT cancel.decided_elsewhere)
    OR cancelled.state <> 'completed'
    OR cancelled.account_number <> cancel.account_number
    OR cancel.kind <> cancelled.kind || '_cancel'
)
""",
)

_RESTORES = Statement(
    about="what cancelled spends gave back, lot by lot",
    checks={
        "given_back_in_reverse_order": (
            "I7",
            "a cancelled spend gives back to its lots, or with grace beside them, the last taken first",
        ),
    },
    sql="""
WITH cancelled AS (
    SELECT cancels_id AS id, sum(points) AS points
    FROM ledger_operation
    WHERE kind = 'spend_cancel' AND state = 'completed' AND cancels_id IS NOT NULL
    GROUP BY cancels_id
), taken AS (
    SELECT cancelled.id, allocation.lot_id, -allocation.points AS points,
        cancelled.points AS cancelled_points,
        coalesce(sum(-allocation.points) OVER (
            PARTITION BY cancelled.id ORDER BY allocation.position DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS taken_after_it
    FROM cancelled
    JOIN ledger_entry AS entry ON entry.operation_id = cancelled.id AND entry.kind = 'spend'
    JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
), given AS (
    SELECT cancel.cancels_id AS id, sum(allocation.points) AS points,
        CASE WHEN lot.entry_id = entry.id THEN lot.origin_id ELSE lot.id END AS lot_id
    FROM ledger_operation AS cancel
    JOIN ledger_entry AS entry ON entry.operation_id = cancel.id AND entry.kind = 'spend_cancel'
    JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
    JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
    WHERE cancel.kind = 'spend_cancel' AND cancel.state = 'completed'
        AND (cancel.cancels_id IS NOT NULL OR NOT cancel.decided_elsewhere)
    GROUP BY cancel.cancels_id, CASE WHEN lot.entry_id = entry.id THEN lot.origin_id ELSE lot.id END
)
SELECT 'given_back_in_reverse_order' AS "check", id AS spend, lot_id AS lot, taken.points::bigint AS taken,
    taken.cancelled_points::bigint AS cancelled_of_the_spend, coalesce(given.points, 0)::bigint AS given_back
FROM taken FULL JOIN given USING (id, lot_id)
WHERE coalesce(given.points, 0)
    <> coalesce(least(taken.points, greatest(taken.cancelled_points - taken.taken_after_it, 0)), 0)
""",
)

_CLAWBACKS = Statement(
    about="what cancelled earns took, and debts",
    checks={
        "cancelled_earn_takes_its_own_lots": (
            "I7",
            "an earn_cancel entry takes only the lot of its earn and the grace lots of that",
        ),
        "debt_is_settled_by_its_clawback": (
            "I3",
            "what settles a debt is a clawback entry of an earn on that account, of those points",
        ),
        "debt_is_what_was_not_collected": (
            "I3",
            "a debt is what a cancelled earn of that account could not collect",
        ),
        "debt_never_settled_before_incurred": ("I3", "at no point more of a debt was settled than incurred"),
        "clawback_of_an_earn_settles_a_debt": ("I3", "an earn claws back only what settles a debt"),
    },
    sql="""
WITH RECURSIVE own AS (
    SELECT entry.id AS entry_id, operation.cancels_id, lot.id AS lot_id, lot.account_id,
        lot.entry_id AS granted_by, lot.origin_id, lot.id AS taken_lot_id
    FROM ledger_entry AS entry
    JOIN ledger_operation AS operation ON operation.id = entry.operation_id
    JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
    JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
    WHERE entry.kind = 'earn_cancel'
    UNION
    SELECT own.entry_id, own.cancels_id, lot.id, lot.account_id, lot.entry_id, lot.origin_id, own.taken_lot_id
    FROM own JOIN ledger_lot AS lot ON lot.id = own.origin_id AND lot.account_id = own.account_id
), running AS (
    SELECT id, account_id, points, sum(points) OVER (
        PARTITION BY account_id ORDER BY recorded_at, points < 0, id
    )::bigint AS outstanding
    FROM ledger_debt
)
SELECT 'cancelled_earn_takes_its_own_lots' AS "check", own.account_id, own.cancels_id AS operation,
    own.taken_lot_id AS row_id, NULL::bigint AS points, NULL::bigint AS other_points
FROM own
GROUP BY own.account_id, own.cancels_id, own.entry_id, own.taken_lot_id
HAVING NOT bool_or(EXISTS (
    SELECT FROM ledger_entry AS granted
    WHERE granted.id = own.granted_by AND granted.operation_id = own.cancels_id
))
UNION ALL
SELECT 'debt_is_settled_by_its_clawback', debt.account_id, debt.operation_id, debt.id, debt.points,
    entry.points
FROM ledger_debt AS debt
LEFT JOIN ledger_entry AS entry ON entry.id = debt.entry_id
WHERE debt.points < 0 AND (
    entry.id IS NULL OR entry.kind <> 'clawback' OR entry.account_id <> debt.account_id
    OR entry.operation_id <> debt.operation_id OR entry.points <> debt.points
)
UNION ALL
SELECT 'debt_is_what_was_not_collected', debt.account_id, debt.operation_id, debt.id, debt.points,
    operation.uncollected_points
FROM ledger_debt AS debt
JOIN ledger_account AS account ON account.id = debt.account_id
LEFT JOIN ledger_operation AS operation ON operation.id = debt.operation_id
WHERE debt.points > 0 AND (
    operation.id IS NULL OR operation.kind <> 'earn_cancel' OR operation.state <> 'completed'
    OR operation.uncollected_points IS DISTINCT FROM debt.points
    OR operation.account_number <> account.account_number
)
UNION ALL
SELECT 'debt_never_settled_before_incurred', account_id, NULL, id, points, outstanding
FROM running WHERE outstanding < 0
UNION ALL
SELECT 'clawback_of_an_earn_settles_a_debt', entry.account_id, entry.operation_id, entry.id, entry.points,
    NULL
FROM ledger_entry AS entry
JOIN ledger_operation AS operation ON operation.id = entry.operation_id
WHERE entry.kind = 'clawback' AND operation.kind = 'earn'
    AND NOT EXISTS (SELECT FROM ledger_debt AS debt WHERE debt.entry_id = entry.id)
""",
)

_INBOX = Statement(
    about="the inbox against accepted operations",
    checks={
        "accepted_operation_waits_in_the_inbox": (
            "I11",
            "what was accepted and is not done waits in the inbox",
        ),
        "inbox_holds_only_accepted_operations": ("I11", "nothing that has ended waits in the inbox"),
    },
    sql="""
SELECT 'accepted_operation_waits_in_the_inbox' AS "check", operation.id AS operation,
    operation.account_number, operation.state
FROM ledger_operation AS operation
WHERE operation.state = 'accepted'
    AND NOT EXISTS (SELECT FROM ledger_inbox AS item WHERE item.operation_id = operation.id)
UNION ALL
SELECT 'inbox_holds_only_accepted_operations', item.operation_id, item.account_number, operation.state
FROM ledger_inbox AS item LEFT JOIN ledger_operation AS operation ON operation.id = item.operation_id
WHERE operation.state IS DISTINCT FROM 'accepted'
""",
)

STATEMENTS_OF_OPERATIONS = (_POSTED, _RELATIONS, _KEYS, _CANCELS, _RESTORES, _CLAWBACKS, _INBOX)
