DELIMITER $$

-- What can be spent now, what of it lapses before p_soon_dtm, and what lapses next.
CREATE PROCEDURE PR_POINT_AVAIL(
    IN  p_mbr_no     CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_soon_dtm   DATETIME(6),
    OUT o_result_cd  VARCHAR(3),
    OUT o_result_msg VARCHAR(200),
    OUT o_avail_amt  BIGINT,
    OUT o_soon_amt   BIGINT,
    OUT o_next_dtm   DATETIME(6),
    OUT o_next_amt   BIGINT)
READS SQL DATA
proc: BEGIN
    DECLARE v_now DATETIME(6) DEFAULT PT_NOW();
    SELECT SUM(REMAIN_AMT),
           COALESCE(SUM(IF(EXPIRE_DTM < p_soon_dtm, REMAIN_AMT, 0)), 0),
           MIN(EXPIRE_DTM),
           SUM(IF(EXPIRE_DTM = NEXT_DTM, REMAIN_AMT, 0))
      INTO o_avail_amt, o_soon_amt, o_next_dtm, o_next_amt
      FROM (SELECT REMAIN_AMT, EXPIRE_DTM, MIN(EXPIRE_DTM) OVER () AS NEXT_DTM
              FROM PT_LOT
             WHERE MBR_NO = p_mbr_no AND OPEN_YN = 'Y' AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > v_now)) live;
    IF o_avail_amt IS NULL THEN
        SET o_avail_amt = 0;
        IF NOT EXISTS (SELECT 1 FROM PT_MBR WHERE MBR_NO = p_mbr_no) THEN
            SET o_result_cd = 'E02', o_result_msg = 'MEMBER IS UNKNOWN'; LEAVE proc;
        END IF;
    END IF;
    SET o_result_cd = 'S', o_result_msg = 'OK';
END
$$

-- A page of a member's history, newest first, made before p_before_seq where given.
CREATE PROCEDURE PR_POINT_HIST(
    IN p_mbr_no     CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN p_before_seq BIGINT,
    IN p_limit      INT)
READS SQL DATA
BEGIN
    SELECT HIST_SEQ, MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, TRADE_NO,
           REQ_ID, ORG_SEQ, REG_ID, REG_DTM, FN_HIST_LOTS(HIST_SEQ)
      FROM PT_HIST
     WHERE MBR_NO = p_mbr_no AND HIST_SEQ < COALESCE(p_before_seq, 9223372036854775807)
     ORDER BY HIST_SEQ DESC
     LIMIT p_limit;
END
$$
