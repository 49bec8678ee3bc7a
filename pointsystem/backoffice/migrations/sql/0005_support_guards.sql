-- What a person confirmed stands as it was confirmed.
CREATE TRIGGER confirmation_is_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON backoffice_confirmation
    FOR EACH STATEMENT EXECUTE FUNCTION backoffice_refuse_change();
