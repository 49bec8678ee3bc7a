-- Points for a member, who is opened by the first. p_expire_cd: 'D' by the type, 'G' at p_expire_dtm (NULL: never).
DELIMITER $$

CREATE PROCEDURE PR_POINT_EARN(
    IN  p_mbr_no     CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_type_cd    CHAR(2),
    IN  p_amt        BIGINT,
    IN  p_expire_cd  CHAR(1),
    IN  p_expire_dtm DATETIME(6),
    IN  p_trade_no   VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    IN  p_req_id     CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,
    IN  p_reg_id     VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    OUT o_result_cd  VARCHAR(3),
    OUT o_result_msg VARCHAR(200),
    OUT o_hist_seq   BIGINT,
    OUT o_bal_amt    BIGINT,
    OUT o_reg_dtm    DATETIME(6),
    OUT o_lots       LONGTEXT CHARACTER SET utf8mb4)
MODIFIES SQL DATA
proc: BEGIN
    DECLARE v_stat_cd  CHAR(1);
    DECLARE v_done_mbr CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
    DECLARE v_done_cd  CHAR(2);
    DECLARE v_days     INT;
    DECLARE v_lot_seq  BIGINT;
    DECLARE v_errno    INT;
    DECLARE v_errmsg   TEXT;
    -- Whatever fails, all of it is taken back, and the caller gets a code like any other.
    DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN
        GET DIAGNOSTICS CONDITION 1 v_errno = MYSQL_ERRNO, v_errmsg = MESSAGE_TEXT;
        ROLLBACK;
        SET o_result_cd = IF(v_errno IN (1205, 1213, 1020), 'E98', 'E99');
        SET o_result_msg = LEFT(CONCAT(v_errno, ' ', v_errmsg), 200);
        SET o_hist_seq = NULL, o_bal_amt = NULL, o_reg_dtm = NULL, o_lots = NULL;
    END;

    IF p_amt IS NULL OR p_amt <= 0 THEN
        SET o_result_cd = 'E05', o_result_msg = 'AMOUNT IS NOT POSITIVE'; LEAVE proc;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM PT_TYPE WHERE TYPE_CD = p_type_cd) THEN
        SET o_result_cd = 'E06', o_result_msg = 'TYPE IS UNKNOWN'; LEAVE proc;
    END IF;

    START TRANSACTION;
    SELECT STAT_CD INTO v_stat_cd FROM PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    IF v_stat_cd IS NULL THEN
        -- Two first earns at once: an IGNORE would leave both with a lock that neither can raise.
        INSERT INTO PT_MBR (MBR_NO, REG_DTM) VALUES (p_mbr_no, PT_NOW()) ON DUPLICATE KEY UPDATE STAT_CD = STAT_CD;
        SELECT STAT_CD INTO v_stat_cd FROM PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    END IF;

    IF p_req_id IS NOT NULL THEN
        SELECT MBR_NO, HIST_CD, HIST_SEQ, BAL_AMT, REG_DTM
          INTO v_done_mbr, v_done_cd, o_hist_seq, o_bal_amt, o_reg_dtm
          FROM PT_HIST WHERE REQ_ID = p_req_id;
        IF v_done_mbr <> p_mbr_no OR v_done_cd <> 'SV' THEN
            SET o_hist_seq = NULL, o_bal_amt = NULL, o_reg_dtm = NULL;
            ROLLBACK; SET o_result_cd = 'E07', o_result_msg = 'REQUEST ID IS IN USE'; LEAVE proc;
        ELSEIF v_done_mbr IS NOT NULL THEN
            SELECT 'S', 'DONE BEFORE', FN_HIST_LOTS(o_hist_seq) INTO o_result_cd, o_result_msg, o_lots;
            COMMIT; LEAVE proc;
        END IF;
    END IF;
    IF v_stat_cd = 'B' THEN
        ROLLBACK; SET o_result_cd = 'E09', o_result_msg = 'MEMBER IS BLOCKED'; LEAVE proc;
    END IF;

    SELECT PT_NOW() INTO o_reg_dtm;
    IF p_expire_cd <> 'G' THEN
        SELECT VALID_DAYS INTO v_days FROM PT_TYPE WHERE TYPE_CD = p_type_cd;
        SET p_expire_dtm = FN_EXPIRE_DTM(o_reg_dtm, v_days);
    END IF;

    INSERT INTO PT_LOT (MBR_NO, TYPE_CD, SAVE_AMT, REMAIN_AMT, SAVE_DTM, EXPIRE_DTM, UPD_DTM)
    VALUES (p_mbr_no, p_type_cd, p_amt, p_amt, o_reg_dtm, p_expire_dtm, o_reg_dtm);
    SET v_lot_seq = LAST_INSERT_ID();
    SELECT FN_LIVE_AMT(p_mbr_no, o_reg_dtm) INTO o_bal_amt;
    INSERT INTO PT_HIST (MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, TRADE_NO, REQ_ID, REG_ID, REG_DTM)
    VALUES (p_mbr_no, 'SV', p_type_cd, p_amt, o_bal_amt, p_trade_no, p_req_id, p_reg_id, o_reg_dtm);
    SET o_hist_seq = LAST_INSERT_ID();
    INSERT INTO PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT) VALUES (o_hist_seq, 1, v_lot_seq, p_amt);

    SELECT 'S', 'OK', FN_HIST_LOTS(o_hist_seq) INTO o_result_cd, o_result_msg, o_lots;
    COMMIT;
END
$$
