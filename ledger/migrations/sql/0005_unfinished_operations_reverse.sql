DROP TRIGGER operation_is_never_truncated ON ledger_operation;
DROP TRIGGER operation_is_never_deleted ON ledger_operation;
CREATE TRIGGER operation_is_never_deleted BEFORE DELETE OR TRUNCATE ON ledger_operation
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
