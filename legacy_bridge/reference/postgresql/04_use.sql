-- Take points, from the lots saved first; lots that have lapsed are never touched.
CREATE PROCEDURE legacy.PR_POINT_USE(
    IN  p_mbr_no     CHAR,
    IN  p_type_cd    CHAR,
    IN  p_amt        BIGINT,
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
    v_stat_cd CHAR(1);
    v_done    legacy.PT_HIST%ROWTYPE;
    v_live    BIGINT;
    v_left    BIGINT := p_amt;
    v_take    BIGINT;
    v_ord_no  INT := 0;
    r_lot     RECORD;
BEGIN
    IF p_amt IS NULL OR p_amt <= 0 THEN
        o_result_cd := 'E05'; o_result_msg := 'AMOUNT IS NOT POSITIVE'; RETURN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM legacy.PT_TYPE WHERE TYPE_CD = p_type_cd) THEN
        o_result_cd := 'E06'; o_result_msg := 'TYPE IS UNKNOWN'; RETURN;
    END IF;

    SELECT STAT_CD INTO v_stat_cd FROM legacy.PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    IF NOT FOUND THEN
        o_result_cd := 'E02'; o_result_msg := 'MEMBER IS UNKNOWN'; RETURN;
    END IF;

    IF p_req_id IS NOT NULL THEN
        SELECT * INTO v_done FROM legacy.PT_HIST WHERE REQ_ID = p_req_id;
        IF FOUND THEN
            IF v_done.MBR_NO <> p_mbr_no OR v_done.HIST_CD <> 'US' THEN
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
    v_live := legacy.FN_LIVE_AMT(p_mbr_no, o_reg_dtm);
    IF v_live < p_amt THEN
        o_result_cd := 'E01'; o_result_msg := 'NOT ENOUGH POINTS'; o_reg_dtm := NULL; RETURN;
    END IF;

    o_bal_amt := v_live - p_amt;
    INSERT INTO legacy.PT_HIST (MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, TRADE_NO, REQ_ID, REG_ID, REG_DTM)
    VALUES (p_mbr_no, 'US', p_type_cd, -p_amt, o_bal_amt, p_trade_no, p_req_id, p_reg_id, o_reg_dtm)
    RETURNING HIST_SEQ INTO o_hist_seq;

    FOR r_lot IN
        SELECT LOT_SEQ, REMAIN_AMT FROM legacy.PT_LOT
         WHERE MBR_NO = p_mbr_no AND REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > o_reg_dtm)
         ORDER BY SAVE_DTM, LOT_SEQ
    LOOP
        v_take := LEAST(v_left, r_lot.REMAIN_AMT);
        v_ord_no := v_ord_no + 1;
        UPDATE legacy.PT_LOT SET REMAIN_AMT = REMAIN_AMT - v_take, UPD_DTM = o_reg_dtm WHERE LOT_SEQ = r_lot.LOT_SEQ;
        INSERT INTO legacy.PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT)
        VALUES (o_hist_seq, v_ord_no, r_lot.LOT_SEQ, -v_take);
        v_left := v_left - v_take;
        EXIT WHEN v_left = 0;
    END LOOP;

    o_result_cd := 'S'; o_result_msg := 'OK'; o_lots := legacy.FN_HIST_LOTS(o_hist_seq);
END $$;
