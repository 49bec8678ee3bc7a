DELIMITER $$

-- The nightly job: takes what lapsed up to p_until_dtm away, one history row for each member. Done all at once or
-- not at all; what an earlier run took is not there any more, so it can be started again at any time.
CREATE PROCEDURE PR_POINT_EXPIRE(
    IN  p_until_dtm  DATETIME(6),
    IN  p_reg_id     VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    OUT o_result_cd  VARCHAR(3),
    OUT o_result_msg VARCHAR(200),
    OUT o_mbr_cnt    BIGINT,
    OUT o_lot_cnt    BIGINT,
    OUT o_amt        BIGINT)
MODIFIES SQL DATA
proc: BEGIN
    DECLARE v_now     DATETIME(6);
    DECLARE v_first   BIGINT;
    DECLARE v_errno   INT;
    DECLARE v_errmsg  TEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        GET DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_errmsg = MESSAGE_TEXT;
        ROLLBACK;
        SET o_result_cd = IF(v_errno IN (1205, 1213, 1020), 'E98', 'E99');
        SET o_result_msg = LEFT(CONCAT(v_errno, ' ', v_errmsg), 200);
        SET o_mbr_cnt = NULL, o_lot_cnt = NULL, o_amt = NULL;
    END;

    SELECT PT_NOW() INTO v_now;
    IF p_until_dtm IS NULL OR p_until_dtm > v_now THEN
        SET o_result_cd = 'E08', o_result_msg = 'NOT YET'; LEAVE proc;
    END IF;
    DROP TEMPORARY TABLE IF EXISTS TM_EXPIRE_MBR;
    DROP TEMPORARY TABLE IF EXISTS TM_EXPIRE_LOT;
    CREATE TEMPORARY TABLE TM_EXPIRE_MBR (MBR_NO CHAR(20) NOT NULL PRIMARY KEY)
        ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
    CREATE TEMPORARY TABLE TM_EXPIRE_LOT (
        LOT_SEQ BIGINT NOT NULL PRIMARY KEY, MBR_NO CHAR(20) NOT NULL, AMT BIGINT NOT NULL,
        SAVE_DTM DATETIME(6) NOT NULL, KEY (MBR_NO))
        ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

    START TRANSACTION;
    INSERT INTO TM_EXPIRE_MBR
    SELECT DISTINCT MBR_NO FROM PT_LOT WHERE OPEN_YN = 'Y' AND EXPIRE_DTM <= p_until_dtm;
    -- Members first and in order, as every other procedure locks them.
    SELECT COUNT(*) INTO o_mbr_cnt
      FROM TM_EXPIRE_MBR t STRAIGHT_JOIN PT_MBR m FORCE INDEX (PRIMARY) ON m.MBR_NO = t.MBR_NO FOR UPDATE;

    -- Only theirs: what others get back meanwhile, into lots that have lapsed, is for the next night. And by
    -- these indexes: a scan would wait for rows of members whom somebody else has locked.
    INSERT INTO TM_EXPIRE_LOT
    SELECT l.LOT_SEQ, l.MBR_NO, l.REMAIN_AMT, l.SAVE_DTM
      FROM TM_EXPIRE_MBR t STRAIGHT_JOIN PT_LOT l FORCE INDEX (IX_PT_LOT_MBR) ON l.MBR_NO = t.MBR_NO
     WHERE l.OPEN_YN = 'Y' AND l.EXPIRE_DTM <= p_until_dtm FOR UPDATE;
    UPDATE TM_EXPIRE_LOT t STRAIGHT_JOIN PT_LOT l FORCE INDEX (PRIMARY) ON l.LOT_SEQ = t.LOT_SEQ
       SET l.REMAIN_AMT = 0, l.UPD_DTM = v_now;
    INSERT INTO PT_HIST (MBR_NO, HIST_CD, AMT, BAL_AMT, REG_ID, REG_DTM)
    SELECT MBR_NO, 'EX', -SUM(AMT), FN_LIVE_AMT(MBR_NO, v_now), p_reg_id, v_now
      FROM TM_EXPIRE_LOT GROUP BY MBR_NO ORDER BY MBR_NO;
    SET v_first = LAST_INSERT_ID();
    INSERT INTO PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT)
    SELECT h.HIST_SEQ, ROW_NUMBER() OVER (PARTITION BY h.HIST_SEQ ORDER BY t.SAVE_DTM, t.LOT_SEQ), t.LOT_SEQ, -t.AMT
      FROM TM_EXPIRE_LOT t
      JOIN PT_HIST h ON h.MBR_NO = t.MBR_NO AND h.HIST_SEQ >= v_first AND h.HIST_CD = 'EX';

    SELECT COUNT(DISTINCT MBR_NO), COUNT(*), COALESCE(SUM(AMT), 0) INTO o_mbr_cnt, o_lot_cnt, o_amt FROM TM_EXPIRE_LOT;
    COMMIT;
    DROP TEMPORARY TABLE TM_EXPIRE_MBR;
    DROP TEMPORARY TABLE TM_EXPIRE_LOT;
    SET o_result_cd = 'S', o_result_msg = 'OK';
END
$$

-- Counts and sums of a month ('YYYYMM'), made anew.
CREATE PROCEDURE PR_POINT_STAT_MONTH(
    IN  p_stat_ym    CHAR(6),
    OUT o_result_cd  VARCHAR(3),
    OUT o_result_msg VARCHAR(200),
    OUT o_row_cnt    BIGINT)
MODIFIES SQL DATA
proc: BEGIN
    DECLARE v_from    DATETIME(6);
    DECLARE v_errno   INT;
    DECLARE v_errmsg  TEXT;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        GET DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_errmsg = MESSAGE_TEXT;
        ROLLBACK;
        SET o_result_cd = IF(v_errno IN (1205, 1213, 1020), 'E98', 'E99');
        SET o_result_msg = LEFT(CONCAT(v_errno, ' ', v_errmsg), 200), o_row_cnt = NULL;
    END;

    IF p_stat_ym IS NULL OR p_stat_ym NOT REGEXP '^[0-9]{4}(0[1-9]|1[0-2])$' THEN
        SET o_result_cd = 'E05', o_result_msg = 'MONTH IS WRONG'; LEAVE proc;
    END IF;
    SET v_from = TIMESTAMP(CONCAT(p_stat_ym, '01'));
    START TRANSACTION;
    DELETE FROM PT_STAT_MONTH WHERE STAT_YM = p_stat_ym;
    INSERT INTO PT_STAT_MONTH (STAT_YM, HIST_CD, TYPE_CD, CNT, AMT)
    SELECT p_stat_ym, HIST_CD, COALESCE(TYPE_CD, ''), COUNT(*), SUM(AMT)
      FROM PT_HIST
     WHERE REG_DTM >= v_from AND REG_DTM < v_from + INTERVAL 1 MONTH
     GROUP BY HIST_CD, COALESCE(TYPE_CD, '');
    SET o_row_cnt = ROW_COUNT();
    COMMIT;
    SET o_result_cd = 'S', o_result_msg = 'OK';
END
$$
