-- Cancel an earn, whole or in part: only what is left of its own lot can be taken.
CREATE PROCEDURE legacy.PR_POINT_EARN_CANCEL(
    IN  p_mbr_no     CHAR,
    IN  p_org_seq    BIGINT,
    IN  p_amt        BIGINT,
    IN  p_type_cd    CHAR,
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
    v_done     legacy.PT_HIST%ROWTYPE;
    v_org_amt  BIGINT;
    v_cncl_amt BIGINT;
    v_lot_seq  BIGINT;
    v_remain   BIGINT;
BEGIN
    IF p_amt IS NULL OR p_amt <= 0 THEN
        o_result_cd := 'E05'; o_result_msg := 'AMOUNT IS NOT POSITIVE'; RETURN;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM legacy.PT_TYPE WHERE TYPE_CD = p_type_cd) THEN
        o_result_cd := 'E06'; o_result_msg := 'TYPE IS UNKNOWN'; RETURN;
    END IF;

    PERFORM 1 FROM legacy.PT_MBR WHERE MBR_NO = p_mbr_no FOR UPDATE;
    IF NOT FOUND THEN
        o_result_cd := 'E02'; o_result_msg := 'MEMBER IS UNKNOWN'; RETURN;
    END IF;

    IF p_req_id IS NOT NULL THEN
        SELECT * INTO v_done FROM legacy.PT_HIST WHERE REQ_ID = p_req_id;
        IF FOUND THEN
            IF v_done.MBR_NO <> p_mbr_no OR v_done.HIST_CD <> 'SC' THEN
                o_result_cd := 'E07'; o_result_msg := 'REQUEST ID IS IN USE'; RETURN;
            END IF;
            o_result_cd := 'S'; o_result_msg := 'DONE BEFORE'; o_hist_seq := v_done.HIST_SEQ;
            o_bal_amt := v_done.BAL_AMT; o_reg_dtm := v_done.REG_DTM; o_lots := legacy.FN_HIST_LOTS(o_hist_seq);
            RETURN;
        END IF;
    END IF;

    SELECT AMT INTO v_org_amt FROM legacy.PT_HIST
     WHERE HIST_SEQ = p_org_seq AND MBR_NO = p_mbr_no AND HIST_CD = 'SV';
    SELECT COALESCE(SUM(-AMT), 0) INTO v_cncl_amt FROM legacy.PT_HIST WHERE ORG_SEQ = p_org_seq;
    IF v_org_amt IS NULL OR p_amt > v_org_amt - v_cncl_amt THEN
        o_result_cd := 'E03'; o_result_msg := 'NOT CANCELLABLE'; RETURN;
    END IF;
    SELECT l.LOT_SEQ, l.REMAIN_AMT INTO v_lot_seq, v_remain
      FROM legacy.PT_HIST_LOT h JOIN legacy.PT_LOT l ON l.LOT_SEQ = h.LOT_SEQ
     WHERE h.HIST_SEQ = p_org_seq;
    IF v_remain IS NULL OR v_remain < p_amt THEN
        o_result_cd := 'E04'; o_result_msg := 'SPENT ALREADY'; RETURN;
    END IF;

    o_reg_dtm := legacy.PT_NOW();
    UPDATE legacy.PT_LOT SET REMAIN_AMT = REMAIN_AMT - p_amt, UPD_DTM = o_reg_dtm WHERE LOT_SEQ = v_lot_seq;
    o_bal_amt := legacy.FN_LIVE_AMT(p_mbr_no, o_reg_dtm);
    INSERT INTO legacy.PT_HIST (MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, TRADE_NO, REQ_ID, ORG_SEQ, REG_ID, REG_DTM)
    VALUES (p_mbr_no, 'SC', p_type_cd, -p_amt, o_bal_amt, p_trade_no, p_req_id, p_org_seq, p_reg_id, o_reg_dtm)
    RETURNING HIST_SEQ INTO o_hist_seq;
    INSERT INTO legacy.PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT) VALUES (o_hist_seq, 1, v_lot_seq, -p_amt);

    o_result_cd := 'S'; o_result_msg := 'OK'; o_lots := legacy.FN_HIST_LOTS(o_hist_seq);
END $$;
