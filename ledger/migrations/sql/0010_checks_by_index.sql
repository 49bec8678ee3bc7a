-- The same refusals, each row looked up by its index. As joins they were planned anew as the tables grew, and
-- for the thousands of rows of a migration's batch that became a scan of the whole table. OFFSET keeps the planner
-- from making joins of them again, and without scans a plan that was made for an empty table stays right.

CREATE OR REPLACE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT arrived.id,
        CASE
            WHEN account.id IS NULL THEN 'entry_has_account'
            WHEN operation.id IS NULL THEN 'entry_has_operation'
            ELSE 'entry_has_allocations'
        END AS name
    INTO wrong
    FROM arrived
    LEFT JOIN LATERAL (
        SELECT id FROM ledger_account WHERE ledger_account.id = arrived.account_id OFFSET 0
    ) AS account ON true
    LEFT JOIN LATERAL (
        SELECT id FROM ledger_operation WHERE ledger_operation.id = arrived.operation_id OFFSET 0
    ) AS operation ON true
    LEFT JOIN LATERAL (
        SELECT entry_id FROM ledger_allocation WHERE ledger_allocation.entry_id = arrived.id LIMIT 1
    ) AS allocation ON true
    WHERE account.id IS NULL OR operation.id IS NULL OR allocation.entry_id IS NULL
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % breaks %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_check_lots() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT arrived.id,
        CASE WHEN entry.id IS NULL THEN 'lot_has_entry' ELSE 'lot_of_its_entrys_account' END AS name
    INTO wrong
    FROM arrived
    LEFT JOIN LATERAL (
        SELECT id, account_id FROM ledger_entry WHERE ledger_entry.id = arrived.entry_id OFFSET 0
    ) AS entry ON true
    WHERE entry.id IS NULL OR entry.account_id <> arrived.account_id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'lot % breaks %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_check_allocations() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
    wrong record;
BEGIN
    SELECT touched.entry_id AS id,
        CASE
            WHEN entry.id IS NULL THEN 'allocation_has_entry'
            WHEN touched.lacks_lot THEN 'allocation_has_lot'
            WHEN touched.points <> entry.points THEN 'allocation_sum_matches_entry'
            -- A later statement for the same entry finds its position 0 taken.
            WHEN touched.first_position <> 0 THEN 'allocations_come_all_at_once'
            ELSE 'allocation_lot_of_same_account'
        END AS name
    INTO wrong
    FROM (
        SELECT arrived.entry_id, sum(arrived.points) AS points, min(arrived.position) AS first_position,
            bool_or(lot.id IS NULL) AS lacks_lot, min(lot.account_id) AS lowest_account,
            max(lot.account_id) AS highest_account
        FROM arrived
        LEFT JOIN LATERAL (
            SELECT id, account_id FROM ledger_lot WHERE ledger_lot.id = arrived.lot_id OFFSET 0
        ) AS lot ON true
        GROUP BY arrived.entry_id
    ) AS touched
    LEFT JOIN LATERAL (
        SELECT id, account_id, points FROM ledger_entry WHERE ledger_entry.id = touched.entry_id OFFSET 0
    ) AS entry ON true
    WHERE entry.id IS NULL OR touched.lacks_lot OR touched.points <> entry.points
        OR touched.first_position <> 0
        OR touched.lowest_account <> entry.account_id OR touched.highest_account <> entry.account_id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocations of entry % break %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
