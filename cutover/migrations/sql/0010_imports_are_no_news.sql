-- What is posted as news is what it was before; an import finds out sooner that it has none.
CREATE OR REPLACE FUNCTION cutover_record_new_operations() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended uuid[];
BEGIN
    IF EXISTS (SELECT FROM cutover_route WHERE finished_at IS NULL AND capture) THEN
        -- The import of a history is no news: its thousands of rows need not be looked up to find that out.
        SELECT array_agg(id) INTO ended FROM arrived
        WHERE state = 'completed' AND NOT (
            decided_elsewhere AND coalesce(current_setting('pointsystem.is_importing', true), '') = 'on'
        );
        IF ended IS NOT NULL THEN
            PERFORM cutover_record(ended);
        END IF;
    END IF;
    RETURN NULL;
END $$;
