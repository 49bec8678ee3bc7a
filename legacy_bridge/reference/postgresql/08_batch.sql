-- The nightly job: takes what lapsed up to p_until_dtm away, one history row for each member. Done all at once or
-- not at all; what an earlier run took is not there any more, so it can be started again at any time.
CREATE PROCEDURE legacy.PR_POINT_EXPIRE(
    IN  p_until_dtm  TIMESTAMP,
    IN  p_reg_id     VARCHAR,
    OUT o_result_cd  VARCHAR,
    OUT o_result_msg VARCHAR,
    OUT o_mbr_cnt    BIGINT,
    OUT o_lot_cnt    BIGINT,
    OUT o_amt        BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    v_now  TIMESTAMP := legacy.PT_NOW();
    v_mbrs CHAR(20)[];
BEGIN
    IF p_until_dtm IS NULL OR p_until_dtm > v_now THEN
        o_result_cd := 'E08'; o_result_msg := 'NOT YET'; RETURN;
    END IF;
    -- Members first and in order, as every other procedure locks them.
    SELECT array_agg(MBR_NO) INTO v_mbrs
      FROM (SELECT MBR_NO FROM legacy.PT_MBR
             WHERE MBR_NO IN (SELECT MBR_NO FROM legacy.PT_LOT WHERE REMAIN_AMT > 0 AND EXPIRE_DTM <= p_until_dtm)
             ORDER BY MBR_NO FOR UPDATE) m;

    -- Only theirs: what others get back meanwhile, into lots that have lapsed, is for the next night.
    WITH lapsed AS MATERIALIZED (
        SELECT l.LOT_SEQ, l.MBR_NO, l.REMAIN_AMT, l.SAVE_DTM
          FROM unnest(v_mbrs) AS m (MBR_NO) JOIN legacy.PT_LOT l ON l.MBR_NO = m.MBR_NO
         WHERE l.REMAIN_AMT > 0 AND l.EXPIRE_DTM <= p_until_dtm
    ), emptied AS (
        UPDATE legacy.PT_LOT l SET REMAIN_AMT = 0, UPD_DTM = v_now FROM lapsed WHERE l.LOT_SEQ = lapsed.LOT_SEQ
    ), written AS (
        INSERT INTO legacy.PT_HIST (MBR_NO, HIST_CD, AMT, BAL_AMT, REG_ID, REG_DTM)
        SELECT MBR_NO, 'EX', -SUM(REMAIN_AMT), legacy.FN_LIVE_AMT(MBR_NO, v_now), p_reg_id, v_now
          FROM lapsed GROUP BY MBR_NO ORDER BY MBR_NO
        RETURNING HIST_SEQ, MBR_NO
    ), linked AS (
        INSERT INTO legacy.PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT)
        SELECT w.HIST_SEQ, ROW_NUMBER() OVER (PARTITION BY w.HIST_SEQ ORDER BY l.SAVE_DTM, l.LOT_SEQ),
               l.LOT_SEQ, -l.REMAIN_AMT
          FROM lapsed l JOIN written w ON w.MBR_NO = l.MBR_NO
    )
    SELECT COUNT(DISTINCT MBR_NO), COUNT(*), COALESCE(SUM(REMAIN_AMT), 0) INTO o_mbr_cnt, o_lot_cnt, o_amt FROM lapsed;
    o_result_cd := 'S'; o_result_msg := 'OK';
END $$;

-- Counts and sums of a month ('YYYYMM'), made anew.
CREATE PROCEDURE legacy.PR_POINT_STAT_MONTH(
    IN  p_stat_ym    CHAR,
    OUT o_result_cd  VARCHAR,
    OUT o_result_msg VARCHAR,
    OUT o_row_cnt    BIGINT)
LANGUAGE plpgsql AS $$
DECLARE
    v_from TIMESTAMP;
BEGIN
    IF p_stat_ym IS NULL OR p_stat_ym !~ '^[0-9]{4}(0[1-9]|1[0-2])$' THEN
        o_result_cd := 'E05'; o_result_msg := 'MONTH IS WRONG'; RETURN;
    END IF;
    v_from := to_date(p_stat_ym || '01', 'YYYYMMDD');
    DELETE FROM legacy.PT_STAT_MONTH WHERE STAT_YM = p_stat_ym;
    INSERT INTO legacy.PT_STAT_MONTH (STAT_YM, HIST_CD, TYPE_CD, CNT, AMT)
    SELECT p_stat_ym, HIST_CD, COALESCE(TYPE_CD, ''), COUNT(*), SUM(AMT)
      FROM legacy.PT_HIST
     WHERE REG_DTM >= v_from AND REG_DTM < v_from + INTERVAL '1 month'
     GROUP BY HIST_CD, COALESCE(TYPE_CD, '');
    GET DIAGNOSTICS o_row_cnt = ROW_COUNT;
    o_result_cd := 'S'; o_result_msg := 'OK';
END $$;
