DROP FUNCTION cutover_assert_attempt(uuid, bigint);
