DROP TRIGGER operation_outcome_is_final ON ledger_operation;
CREATE TRIGGER operation_outcome_is_final BEFORE UPDATE ON ledger_operation
    FOR EACH ROW WHEN (OLD.state IN ('completed', 'failed')) EXECUTE FUNCTION ledger_refuse_reopening();
