-- What can be spent now, what of it lapses before p_soon_dtm, and what lapses next.
CREATE PROCEDURE legacy.PR_POINT_AVAIL(
    IN  p_mbr_no     CHAR,
    IN  p_soon_dtm   TIMESTAMP,
    OUT o_result_cd  VARCHAR,
    OUT o_result_msg VARCHAR,
    OUT o_avail_amt  BIGINT,
    OUT o_soon_amt   BIGINT,
    OUT o_next_dtm   TIMESTAMP,
    OUT o_next_amt   BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    v_now TIMESTAMP := legacy.PT_NOW();
BEGIN
    SELECT SUM(REMAIN_AMT),
           COALESCE(SUM(REMAIN_AMT) FILTER (WHERE EXPIRE_DTM < p_soon_dtm), 0),
           MIN(EXPIRE_DTM),
           SUM(REMAIN_AMT) FILTER (WHERE EXPIRE_DTM = NEXT_DTM)
      INTO o_avail_amt, o_soon_amt, o_next_dtm, o_next_amt
      FROM (SELECT REMAIN_AMT, EXPIRE_DTM, MIN(EXPIRE_DTM) OVER () AS NEXT_DTM
              FROM legacy.PT_LOT
             WHERE MBR_NO = p_mbr_no AND REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > v_now)) live;
    IF o_avail_amt IS NULL THEN
        o_avail_amt := 0;
        IF NOT EXISTS (SELECT 1 FROM legacy.PT_MBR WHERE MBR_NO = p_mbr_no) THEN
            o_result_cd := 'E02'; o_result_msg := 'MEMBER IS UNKNOWN'; RETURN;
        END IF;
    END IF;
    o_result_cd := 'S'; o_result_msg := 'OK';
END $$;

-- A page of a member's history, newest first, made before p_before_seq where given.
CREATE FUNCTION legacy.PR_POINT_HIST(p_mbr_no CHAR, p_before_seq BIGINT, p_limit INT)
RETURNS TABLE (
    HIST_SEQ BIGINT, MBR_NO CHAR, HIST_CD CHAR, TYPE_CD CHAR, AMT BIGINT, BAL_AMT BIGINT, TRADE_NO VARCHAR,
    REQ_ID CHAR, ORG_SEQ BIGINT, REG_ID VARCHAR, REG_DTM TIMESTAMP, LOTS TEXT)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT h.HIST_SEQ, h.MBR_NO, h.HIST_CD, h.TYPE_CD, h.AMT, h.BAL_AMT, h.TRADE_NO,
           h.REQ_ID, h.ORG_SEQ, h.REG_ID, h.REG_DTM, legacy.FN_HIST_LOTS(h.HIST_SEQ)
      FROM legacy.PT_HIST h
     WHERE h.MBR_NO = p_mbr_no AND h.HIST_SEQ < COALESCE(p_before_seq, 9223372036854775807)
     ORDER BY h.HIST_SEQ DESC
     LIMIT p_limit;
END $$;
