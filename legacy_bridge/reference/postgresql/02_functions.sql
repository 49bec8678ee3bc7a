-- What the procedures share.

-- The local time of the programme, or the moment at which the clock was stopped.
CREATE FUNCTION legacy.PT_NOW() RETURNS TIMESTAMP
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_now TIMESTAMP;
BEGIN
    SELECT FIXED_DTM INTO v_now FROM legacy.PT_CLOCK;
    IF FOUND THEN
        RETURN v_now;
    END IF;
    SELECT clock_timestamp() AT TIME ZONE CFG_VAL INTO STRICT v_now
      FROM legacy.PT_CONFIG WHERE CFG_KEY = 'TIME_ZONE';
    RETURN v_now;
END $$;

-- What a member can spend at a moment: what is left in lots that have not lapsed.
CREATE FUNCTION legacy.FN_LIVE_AMT(p_mbr_no CHAR, p_now TIMESTAMP) RETURNS BIGINT
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_amt BIGINT;
BEGIN
    SELECT COALESCE(SUM(REMAIN_AMT), 0) INTO v_amt
      FROM legacy.PT_LOT
     WHERE MBR_NO = p_mbr_no AND REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > p_now);
    RETURN v_amt;
END $$;

-- The lots that a row touched, in the order of touching: [[lot, points without a sign, lapses or null], ...]
CREATE FUNCTION legacy.FN_HIST_LOTS(p_hist_seq BIGINT) RETURNS TEXT
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_lots TEXT;
BEGIN
    SELECT COALESCE(json_agg(json_build_array(h.LOT_SEQ, ABS(h.AMT), l.EXPIRE_DTM) ORDER BY h.ORD_NO)::TEXT, '[]')
      INTO v_lots
      FROM legacy.PT_HIST_LOT h JOIN legacy.PT_LOT l ON l.LOT_SEQ = h.LOT_SEQ
     WHERE h.HIST_SEQ = p_hist_seq;
    RETURN v_lots;
END $$;

-- The end of the local day of a moment, some days later; NULL days: never.
CREATE FUNCTION legacy.FN_EXPIRE_DTM(p_now TIMESTAMP, p_valid_days INT) RETURNS TIMESTAMP
LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc('day', p_now) + (p_valid_days + 1) * INTERVAL '1 day'
$$;
