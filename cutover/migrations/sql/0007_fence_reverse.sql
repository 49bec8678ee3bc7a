DROP TRIGGER message_goes_only_when_settled ON cutover_message;
DROP TRIGGER message_outcome_is_final ON cutover_message;
DROP FUNCTION cutover_refuse_message_change();
DROP TRIGGER journal_is_insert_only ON cutover_journal;
DROP TRIGGER route_move_is_legal ON cutover_route;
DROP FUNCTION cutover_check_route_move();
CREATE TRIGGER route_epoch_grows BEFORE UPDATE ON cutover_route
    FOR EACH ROW WHEN (NEW.epoch <= OLD.epoch OR NEW.cohort <> OLD.cohort)
    EXECUTE FUNCTION cutover_refuse_route_change();
DROP TRIGGER operation_is_recorded_at_its_end ON ledger_operation;
DROP TRIGGER operation_is_recorded ON ledger_operation;
DROP FUNCTION cutover_record_ended_operations();
DROP FUNCTION cutover_record_new_operations();
DROP FUNCTION cutover_record(uuid[]);
DROP TRIGGER operation_ends_under_route ON ledger_operation;
DROP TRIGGER operation_is_decided_under_route ON ledger_operation;
DROP FUNCTION cutover_fence_operation();
DROP FUNCTION cutover_is_held(text, text);
ALTER TABLE cutover_message RESET (fillfactor);
