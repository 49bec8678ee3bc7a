-- The fence and the mirror messages, in the transaction that decides, whatever code decides in it
-- (docs/adr/0023-the-database-fences-and-records.md).

-- An account whose last decider still owes the other side something: nobody decides on it before that is
-- settled. `old_direction` is the one in which its messages went before.
CREATE FUNCTION cutover_is_held(of_account text, old_direction text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM cutover_message
        WHERE account_number = of_account AND direction = old_direction AND state IN ('waiting', 'parked')
    ) OR (
        old_direction = 'to_ledger' AND (
            EXISTS (SELECT FROM cutover_intent WHERE account_number = of_account AND state = 'open')
            OR EXISTS (SELECT FROM cutover_intent WHERE account_number = of_account AND state = 'in_doubt')
        )
    )
$$;

-- What the ledger decides by itself is decided under the cohort's lock, shared, which is kept to the commit
-- and which a switch takes alone; and only while the route, read after the lock was had, lets it decide. The
-- operation says under which stage and epoch that was. Without a route the ledger stands alone.
CREATE FUNCTION cutover_fence_operation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_cohort text;
    route cutover_route;
    broken text;
BEGIN
    SELECT cohort INTO of_cohort FROM cutover_member WHERE account_number = NEW.account_number;
    of_cohort := coalesce(of_cohort, 'default');
    PERFORM pg_advisory_xact_lock_shared(1886679907, hashtext(of_cohort));
    SELECT * INTO route FROM cutover_route WHERE cohort = (
        SELECT coalesce(
            (SELECT cohort FROM cutover_member WHERE account_number = NEW.account_number), 'default'
        )
    );
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    NEW.stage := route.stage;
    NEW.epoch := route.epoch;
    IF route.finished_at IS NOT NULL THEN
        RETURN NEW;
    END IF;
    broken := CASE
        -- Assigned to another cohort meanwhile: its lock is another.
        WHEN route.cohort <> of_cohort THEN 'route_lets_ledger_decide'
        WHEN route.stage NOT IN ('NEW_FIRST', 'NEW_ONLY') THEN 'route_lets_ledger_decide'
        WHEN route.freeze_until > clock_timestamp() THEN 'route_is_not_frozen'
        WHEN NEW.kind IN ('transfer', 'adjust') THEN 'legacy_can_represent'
        WHEN cutover_is_held(NEW.account_number, 'to_ledger') THEN 'account_is_not_held'
    END;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION 'operation % breaks %', NEW.id, broken
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = broken, TABLE = 'cutover_route';
    END IF;
    RETURN NEW;
END $$;
-- That nothing is left to cancel stays true whoever decides: it is refused when a cancel is accepted, too.
CREATE TRIGGER operation_is_decided_under_route BEFORE INSERT ON ledger_operation
    FOR EACH ROW WHEN (
        NEW.state IN ('completed', 'failed') AND NOT NEW.decided_elsewhere
        AND (NEW.refusal ->> 'code') IS DISTINCT FROM 'not_cancellable'
    ) EXECUTE FUNCTION cutover_fence_operation();
CREATE TRIGGER operation_ends_under_route BEFORE UPDATE ON ledger_operation
    FOR EACH ROW WHEN (
        NEW.state IN ('completed', 'failed') AND OLD.state <> NEW.state AND NOT NEW.decided_elsewhere
    ) EXECUTE FUNCTION cutover_fence_operation();

-- What was decided, here or elsewhere, leaves a message for the other side. The import of a history is no
-- news; and in LEGACY_ONLY only what is captured is told.
CREATE FUNCTION cutover_record(ended uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    beyond uuid;
BEGIN
    -- What the legacy has no form for: points of a cancelled earn that are taken elsewhere, and points
    -- that come back as a new lot.
    SELECT operation.id INTO beyond
    FROM ledger_operation AS operation
    JOIN ledger_entry AS entry ON entry.operation_id = operation.id
    LEFT JOIN cutover_member AS member ON member.account_number = operation.account_number
    JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
    WHERE operation.id = ANY (ended) AND NOT operation.decided_elsewhere AND route.finished_at IS NULL
        AND operation.kind IN ('earn_cancel', 'spend_cancel')
        AND (
            entry.kind = 'clawback' OR operation.uncollected_points IS NOT NULL
            OR operation.kind = 'spend_cancel'
                AND EXISTS (SELECT FROM ledger_lot AS lot WHERE lot.entry_id = entry.id)
        )
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'operation % breaks legacy_can_represent', beyond
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'legacy_can_represent',
                TABLE = 'cutover_route';
    END IF;
    INSERT INTO cutover_message (
        account_number, direction, operation_id, stage, epoch, state, created_at, due_at
    )
    SELECT operation.account_number,
        CASE WHEN operation.decided_elsewhere THEN 'to_ledger' ELSE 'to_legacy' END,
        operation.id, coalesce(operation.stage, route.stage), coalesce(operation.epoch, route.epoch),
        'waiting', clock_timestamp(), clock_timestamp()
    FROM ledger_operation AS operation
    LEFT JOIN cutover_member AS member ON member.account_number = operation.account_number
    JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
    WHERE operation.id = ANY (ended) AND route.finished_at IS NULL
        AND (
            NOT operation.decided_elsewhere
            OR (route.capture AND coalesce(current_setting('pointsystem.is_importing', true), '') <> 'on')
        )
    ORDER BY operation.id
    ON CONFLICT (operation_id) DO NOTHING;
END $$;

CREATE FUNCTION cutover_record_new_operations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[];
BEGIN
    IF EXISTS (SELECT FROM cutover_route WHERE finished_at IS NULL AND capture) THEN
        SELECT array_agg(id) INTO ended FROM arrived WHERE state = 'completed';
        IF ended IS NOT NULL THEN
            PERFORM cutover_record(ended);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER operation_is_recorded AFTER INSERT ON ledger_operation
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION cutover_record_new_operations();

CREATE FUNCTION cutover_record_ended_operations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[];
BEGIN
    IF EXISTS (SELECT FROM cutover_route WHERE finished_at IS NULL AND capture) THEN
        SELECT array_agg(arrived.id) INTO ended
        FROM arrived JOIN departed ON departed.id = arrived.id
        WHERE arrived.state = 'completed' AND departed.state <> 'completed';
        IF ended IS NOT NULL THEN
            PERFORM cutover_record(ended);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER operation_is_recorded_at_its_end AFTER UPDATE ON ledger_operation
    REFERENCING OLD TABLE AS departed NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION cutover_record_ended_operations();

-- Which moves there are. One step forward or back; a change of anything but the notice is a new epoch.
CREATE FUNCTION cutover_check_route_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    stages CONSTANT text[] := ARRAY['LEGACY_ONLY', 'LEGACY_FIRST', 'NEW_FIRST', 'NEW_ONLY'];
    broken text;
BEGIN
    broken := CASE
        WHEN NEW.cohort <> OLD.cohort THEN 'route_keeps_its_cohort'
        WHEN OLD.finished_at IS NOT NULL THEN 'route_finished_is_final'
        WHEN abs(array_position(stages, NEW.stage::text) - array_position(stages, OLD.stage::text)) > 1
            THEN 'route_moves_one_step'
        WHEN NEW.stage = 'LEGACY_FIRST' AND OLD.stage = 'LEGACY_ONLY' AND NOT OLD.capture
            THEN 'route_captures_first'
        WHEN NEW.stage <> 'LEGACY_ONLY' AND NOT NEW.capture THEN 'route_captures_after'
        WHEN NEW.finished_at IS NOT NULL AND OLD.stage <> 'NEW_ONLY' THEN 'route_finishes_after_new_only'
        WHEN (NEW.stage, NEW.capture, NEW.freeze_until, NEW.finished_at)
            IS DISTINCT FROM (OLD.stage, OLD.capture, OLD.freeze_until, OLD.finished_at)
            AND NEW.epoch <> OLD.epoch + 1 THEN 'route_epoch_grows'
        WHEN NEW.epoch < OLD.epoch THEN 'route_epoch_grows'
    END;
    IF broken IS NOT NULL THEN
        RAISE EXCEPTION 'the move of route % from % to % breaks %', OLD.cohort, OLD.stage, NEW.stage, broken
            USING ERRCODE = 'restrict_violation', CONSTRAINT = broken, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER route_epoch_grows ON cutover_route;
CREATE TRIGGER route_move_is_legal BEFORE UPDATE ON cutover_route
    FOR EACH ROW EXECUTE FUNCTION cutover_check_route_move();

-- The journal is added to, and nothing else.
CREATE TRIGGER journal_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON cutover_journal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- A message that was settled stays as it was settled; it may be cleared away.
CREATE FUNCTION cutover_refuse_message_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of message % (%) is refused', TG_OP, OLD.id, OLD.state
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER message_outcome_is_final BEFORE UPDATE ON cutover_message
    FOR EACH ROW WHEN (OLD.state IN ('applied', 'skipped')) EXECUTE FUNCTION cutover_refuse_message_change();
CREATE TRIGGER message_goes_only_when_settled BEFORE DELETE ON cutover_message
    FOR EACH ROW WHEN (OLD.state IN ('waiting', 'parked')) EXECUTE FUNCTION cutover_refuse_message_change();

-- A message is changed at least once: room for that on its own page.
ALTER TABLE cutover_message SET (fillfactor = 80);
