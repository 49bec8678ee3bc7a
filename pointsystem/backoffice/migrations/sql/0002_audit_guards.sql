-- The audit trail is append-only, whoever connects: the trigger carries the name of the invariant, and
-- reports it as the constraint name of the error.
CREATE FUNCTION backoffice_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are never changed', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END $$;

CREATE TRIGGER audit_entry_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON backoffice_audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION backoffice_refuse_change();
