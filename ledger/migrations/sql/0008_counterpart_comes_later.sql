-- What was decided here may be told to another side later: the row that it became there is all that an
-- operation with an outcome may still be given, and once.
DROP TRIGGER operation_outcome_is_final ON ledger_operation;
CREATE TRIGGER operation_outcome_is_final BEFORE UPDATE ON ledger_operation
    FOR EACH ROW WHEN (
        OLD.state IN ('completed', 'failed')
        AND (
            OLD.counterpart_id IS NOT NULL
            OR (
                OLD.id, OLD.client_id, OLD.idempotency_key, OLD.fingerprint, OLD.kind, OLD.state,
                OLD.account_number, OLD.to_account_number, OLD.points, OLD.reason_id, OLD.reference,
                OLD.occurred_at, OLD.recorded_at, OLD.cancels_id, OLD.balance_after, OLD.uncollected_points,
                OLD.metadata, OLD.refusal, OLD.actor, OLD.decided_elsewhere, OLD.stage, OLD.epoch, OLD.shares
            ) IS DISTINCT FROM (
                NEW.id, NEW.client_id, NEW.idempotency_key, NEW.fingerprint, NEW.kind, NEW.state,
                NEW.account_number, NEW.to_account_number, NEW.points, NEW.reason_id, NEW.reference,
                NEW.occurred_at, NEW.recorded_at, NEW.cancels_id, NEW.balance_after, NEW.uncollected_points,
                NEW.metadata, NEW.refusal, NEW.actor, NEW.decided_elsewhere, NEW.stage, NEW.epoch, NEW.shares
            )
        )
    ) EXECUTE FUNCTION ledger_refuse_reopening();
