-- Keys of what was done or refused never expire. An operation that another side was to decide, and that for
-- certain never reached it, goes again: its key is free, as if it had not been asked for.
DROP TRIGGER operation_is_never_deleted ON ledger_operation;
CREATE TRIGGER operation_is_never_deleted BEFORE DELETE ON ledger_operation
    FOR EACH ROW WHEN (OLD.state <> 'pending') EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER operation_is_never_truncated BEFORE TRUNCATE ON ledger_operation
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
