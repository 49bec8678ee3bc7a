ALTER TABLE cutover_intent RESET (fillfactor);
DROP TRIGGER intent_goes_only_while_open ON cutover_intent;
DROP TRIGGER intent_outcome_is_final ON cutover_intent;
DROP FUNCTION cutover_refuse_intent_change();
DROP TRIGGER route_is_never_deleted ON cutover_route;
DROP TRIGGER route_epoch_grows ON cutover_route;
DROP FUNCTION cutover_refuse_route_change();
DROP FUNCTION cutover_assert_cancelled(uuid, bigint);
DROP FUNCTION cutover_assert_epoch(text, bigint);
