-- What the database itself refuses, whoever connects. Each trigger carries the name of the
-- invariant, and reports it as the constraint name of the error.

CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER entry_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER lot_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_lot
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER allocation_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_allocation
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER debt_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_debt
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER account_status_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_account_status
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER reason_policy_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_reason_policy
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- Keys never expire: an operation may change its state, but it never goes.
CREATE TRIGGER operation_is_never_deleted BEFORE DELETE OR TRUNCATE ON ledger_operation
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- An ended operation stays as it ended: only the way there may be written.
CREATE FUNCTION ledger_refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'operation % has ended as %', OLD.id, OLD.state
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER operation_outcome_is_final BEFORE UPDATE ON ledger_operation
    FOR EACH ROW WHEN (OLD.state IN ('completed', 'failed')) EXECUTE FUNCTION ledger_refuse_reopening();

-- Entries, lots and allocations come together, in one statement, and refer to each other. Each of these
-- checks runs once per statement over all rows it brought, and takes the place of foreign keys, which
-- would check and lock row by row: nothing that is referred to here is ever deleted.

CREATE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER entry_is_sound AFTER INSERT ON ledger_entry
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_entries();

CREATE FUNCTION ledger_check_lots() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER lot_is_sound AFTER INSERT ON ledger_lot
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_lots();

CREATE FUNCTION ledger_check_allocations() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER allocation_is_sound AFTER INSERT ON ledger_allocation
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_allocations();

-- Accounts, their numbers and their counters: a sequence never goes back.
CREATE FUNCTION ledger_refuse_sequence_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'sequence or number of account % would change backwards', OLD.account_number
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER account_sequence_never_goes_back BEFORE UPDATE ON ledger_account
    FOR EACH ROW WHEN (NEW.sequence < OLD.sequence OR NEW.account_number <> OLD.account_number)
    EXECUTE FUNCTION ledger_refuse_sequence_going_back();
CREATE TRIGGER account_is_never_deleted BEFORE DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- What operations and lots name without a foreign key stays as long as they do.
CREATE TRIGGER client_is_never_deleted BEFORE DELETE OR TRUNCATE ON ledger_client
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER reason_is_never_deleted BEFORE DELETE OR TRUNCATE ON ledger_reason
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- UUIDv7 for operations made by one statement (expiry): PostgreSQL has its own only from 18 on.
CREATE FUNCTION ledger_uuid7(instant timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(
            set_bit(
                overlay(
                    uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM instant) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6
                ),
                52, 1
            ),
            53, 1
        ),
        'hex'
    )::uuid
$$;

-- Rows that change often find room on their own page (heap-only updates).
ALTER TABLE ledger_account SET (fillfactor = 60);
ALTER TABLE ledger_open_lot SET (fillfactor = 70);
ALTER TABLE ledger_stale_balance SET (fillfactor = 50);
