-- What was read before the lock must still be so under it: otherwise the transaction ends here, and whoever
-- asked reads again. The names come out as the constraint of the error.
CREATE FUNCTION cutover_assert_epoch(of_cohort text, as_read bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM cutover_route WHERE cohort = of_cohort AND epoch = as_read) THEN
        RAISE EXCEPTION 'the route of % is not of epoch % any more', of_cohort, as_read
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'route_is_as_read',
                TABLE = 'cutover_route';
    END IF;
END $$;

CREATE FUNCTION cutover_assert_cancelled(of_operation uuid, as_read bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF as_read <> (
        SELECT coalesce(sum(points), 0) FROM ledger_operation
        WHERE cancels_id = of_operation AND state = 'completed'
    ) THEN
        RAISE EXCEPTION 'more of operation % was cancelled meanwhile', of_operation
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'cancelled_is_as_read',
                TABLE = 'ledger_operation';
    END IF;
END $$;

-- An epoch never goes back, and a route is never deleted.
CREATE FUNCTION cutover_refuse_route_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of route % is refused', TG_OP, OLD.cohort
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER route_epoch_grows BEFORE UPDATE ON cutover_route
    FOR EACH ROW WHEN (NEW.epoch <= OLD.epoch OR NEW.cohort <> OLD.cohort)
    EXECUTE FUNCTION cutover_refuse_route_change();
CREATE TRIGGER route_is_never_deleted BEFORE DELETE ON cutover_route
    FOR EACH ROW EXECUTE FUNCTION cutover_refuse_route_change();

-- An intent that was settled stays as it was settled; one that was not done, for certain, may go.
CREATE FUNCTION cutover_refuse_intent_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of intent % (%) is refused', TG_OP, OLD.id, OLD.state
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;
CREATE TRIGGER intent_outcome_is_final BEFORE UPDATE ON cutover_intent
    FOR EACH ROW WHEN (OLD.state IN ('done', 'refused')) EXECUTE FUNCTION cutover_refuse_intent_change();
CREATE TRIGGER intent_goes_only_while_open BEFORE DELETE ON cutover_intent
    FOR EACH ROW WHEN (OLD.state <> 'open') EXECUTE FUNCTION cutover_refuse_intent_change();

-- An intent is changed at least once: room for that on its own page.
ALTER TABLE cutover_intent SET (fillfactor = 80);
