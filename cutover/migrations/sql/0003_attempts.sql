-- Whoever ends an operation must have made the last attempt at it. One that was stopped for longer than its
-- lease finds that another has taken over, and leaves it alone: what it knows is of a session that was ended.
CREATE FUNCTION cutover_assert_attempt(of_operation uuid, as_made bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM cutover_intent
    WHERE operation_id = of_operation AND attempts = as_made AND state IN ('open', 'in_doubt')
    FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'attempt % at operation % is not the last any more', as_made, of_operation
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'attempt_is_the_last',
                TABLE = 'cutover_intent';
    END IF;
END $$;
