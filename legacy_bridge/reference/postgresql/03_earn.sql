-- Points for a member, who is opened by the first. p_expire_cd: 'D' by the type, 'G' at p_expire_dtm (NULL: never).
CREATE PROCEDURE legacy.PR_POINT_EARN(
    IN  p_mbr_no     CHAR,
    IN  p_type_cd    CHAR,
    IN  p_amt        BIGINT,
    IN  p_expire_cd  CHAR,
    IN  p_expire_dtm TIMESTAMP,
    IN  p_trade_no   VARCHAR,
    IN  p_req_id     CHAR,
    IN  p_reg_id     VARCHAR,
    OUT o_result_cd  VARCHAR,
    OUT o_result_msg VARCHAR,
    OUT o_hist_seq   BIGINT,
    OUT o_bal_amt    BIGINT,
    OUT o_reg_dtm    TIMESTAMP,
    OUT o_lots       TEXT)
LANGUAGE plpgsql AS $$
DECLARE
    v_stat_cd    CHAR(1);
    v_type       legacy.PT_TYPE%ROWTYPE;
    v_done       legacy.PT_HIST%ROWTYPE;
    v_expire_dtm TIMESTAMP;
    v_lot_seq    BIGINT;
BEGIN
    IF p_amt IS NULL OR p_amt <= 0 THEN
        o_result_cd := 'E05'; o_result_msg := 'AMOUNT IS NOT POSITIVE'; RETURN;
    END IF;
    SELECT * INTO v_type FROM legacy.PT_TYPE WHERE TYPE_CD = p_type_cd;
    IF NOT FOUND THEN
        o_result_cd := 'E06'; o_result_msg := 'TYPE IS UNKNOWN'; RETURN;
    END IF;

    SELECT STAT_CD INTO v_stat_cd FROM legacy.PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO legacy.PT_MBR (MBR_NO, REG_DTM) VALUES (p_mbr_no, legacy.PT_NOW()) ON CONFLICT DO NOTHING;
        SELECT STAT_CD INTO v_stat_cd FROM legacy.PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    END IF;

    IF p_req_id IS NOT NULL THEN
        SELECT * INTO v_done FROM legacy.PT_HIST WHERE REQ_ID = p_req_id;
        IF FOUND THEN
            IF v_done.MBR_NO <> p_mbr_no OR v_done.HIST_CD <> 'SV' THEN
                o_result_cd := 'E07'; o_result_msg := 'REQUEST ID IS IN USE'; RETURN;
            END IF;
            o_result_cd := 'S'; o_result_msg := 'DONE BEFORE'; o_hist_seq := v_done.HIST_SEQ;
            o_bal_amt := v_done.BAL_AMT; o_reg_dtm := v_done.REG_DTM; o_lots := legacy.FN_HIST_LOTS(o_hist_seq);
            RETURN;
        END IF;
    END IF;
    IF v_stat_cd = 'B' THEN
        o_result_cd := 'E09'; o_result_msg := 'MEMBER IS BLOCKED'; RETURN;
    END IF;

    o_reg_dtm := legacy.PT_NOW();
    IF p_expire_cd = 'G' THEN
        v_expire_dtm := p_expire_dtm;
    ELSE
        v_expire_dtm := legacy.FN_EXPIRE_DTM(o_reg_dtm, v_type.VALID_DAYS);
    END IF;

    INSERT INTO legacy.PT_LOT (MBR_NO, TYPE_CD, SAVE_AMT, REMAIN_AMT, SAVE_DTM, EXPIRE_DTM, UPD_DTM)
    VALUES (p_mbr_no, p_type_cd, p_amt, p_amt, o_reg_dtm, v_expire_dtm, o_reg_dtm)
    RETURNING LOT_SEQ INTO v_lot_seq;
    o_bal_amt := legacy.FN_LIVE_AMT(p_mbr_no, o_reg_dtm);
    INSERT INTO legacy.PT_HIST (MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, TRADE_NO, REQ_ID, REG_ID, REG_DTM)
    VALUES (p_mbr_no, 'SV', p_type_cd, p_amt, o_bal_amt, p_trade_no, p_req_id, p_reg_id, o_reg_dtm)
    RETURNING HIST_SEQ INTO o_hist_seq;
    INSERT INTO legacy.PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT) VALUES (o_hist_seq, 1, v_lot_seq, p_amt);

    o_result_cd := 'S'; o_result_msg := 'OK'; o_lots := legacy.FN_HIST_LOTS(o_hist_seq);
END $$;
