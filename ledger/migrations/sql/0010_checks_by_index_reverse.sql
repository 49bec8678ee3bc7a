CREATE OR REPLACE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
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
    LEFT JOIN ledger_account AS account ON account.id = arrived.account_id
    LEFT JOIN ledger_operation AS operation ON operation.id = arrived.operation_id
    WHERE account.id IS NULL OR operation.id IS NULL
        OR NOT EXISTS (SELECT FROM ledger_allocation AS allocation WHERE allocation.entry_id = arrived.id)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % breaks %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_check_lots() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT arrived.id,
        CASE WHEN entry.id IS NULL THEN 'lot_has_entry' ELSE 'lot_of_its_entrys_account' END AS name
    INTO wrong
    FROM arrived
    LEFT JOIN ledger_entry AS entry ON entry.id = arrived.entry_id
    WHERE entry.id IS NULL OR entry.account_id <> arrived.account_id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'lot % breaks %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION ledger_check_allocations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT arrived.entry_id AS id,
        CASE
            WHEN entry.id IS NULL THEN 'allocation_has_entry'
            WHEN bool_or(lot.id IS NULL) THEN 'allocation_has_lot'
            WHEN sum(arrived.points) <> entry.points THEN 'allocation_sum_matches_entry'
            -- A later statement for the same entry finds its position 0 taken.
            WHEN min(arrived.position) <> 0 THEN 'allocations_come_all_at_once'
            ELSE 'allocation_lot_of_same_account'
        END AS name
    INTO wrong
    FROM arrived
    LEFT JOIN ledger_entry AS entry ON entry.id = arrived.entry_id
    LEFT JOIN ledger_lot AS lot ON lot.id = arrived.lot_id
    GROUP BY arrived.entry_id, entry.id, entry.points
    HAVING entry.id IS NULL OR sum(arrived.points) <> entry.points OR min(arrived.position) <> 0
        OR bool_or(lot.id IS NULL OR lot.account_id <> entry.account_id)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'allocations of entry % break %', wrong.id, wrong.name
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = wrong.name, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END $$;
