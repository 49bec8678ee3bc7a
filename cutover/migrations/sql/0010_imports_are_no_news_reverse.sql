CREATE OR REPLACE FUNCTION cutover_record_new_operations() RETURNS trigger LANGUAGE plpgsql AS $$
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
