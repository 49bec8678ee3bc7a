-- What the procedures share. They ask for functions by SELECT ... INTO: a SET would lock every row that is read,
-- and an index that is not the member's would make that rows of other members.
DELIMITER $$

-- The local time of the programme, or the moment at which the clock was stopped.
CREATE FUNCTION PT_NOW() RETURNS DATETIME(6)
READS SQL DATA
BEGIN
    DECLARE v_now DATETIME(6);
    SET v_now = (SELECT FIXED_DTM FROM PT_CLOCK);
    IF v_now IS NOT NULL THEN
        RETURN v_now;
    END IF;
    RETURN CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', (SELECT CFG_VAL FROM PT_CONFIG WHERE CFG_KEY = 'TIME_ZONE'));
END
$$

-- What a member can spend at a moment: what is left in lots that have not lapsed.
CREATE FUNCTION FN_LIVE_AMT(
    p_mbr_no CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, p_now DATETIME(6)) RETURNS BIGINT
READS SQL DATA
BEGIN
    RETURN (SELECT COALESCE(SUM(REMAIN_AMT), 0) FROM PT_LOT FORCE INDEX (IX_PT_LOT_MBR)
             WHERE MBR_NO = p_mbr_no AND OPEN_YN = 'Y' AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > p_now));
END
$$

-- The lots that a row touched, in the order of touching: [[lot, points without a sign, lapses or null], ...]
CREATE FUNCTION FN_HIST_LOTS(p_hist_seq BIGINT) RETURNS LONGTEXT CHARACTER SET utf8mb4
READS SQL DATA
BEGIN
    RETURN (SELECT CONCAT('[', COALESCE(GROUP_CONCAT(
                       CONCAT('[', h.LOT_SEQ, ', ', ABS(h.AMT), ', ',
                              COALESCE(DATE_FORMAT(l.EXPIRE_DTM, '"%Y-%m-%dT%H:%i:%s.%f"'), 'null'), ']')
                       ORDER BY h.ORD_NO SEPARATOR ', '), ''), ']')
              FROM PT_HIST_LOT h JOIN PT_LOT l ON l.LOT_SEQ = h.LOT_SEQ
             WHERE h.HIST_SEQ = p_hist_seq);
END
$$

-- The end of the local day of a moment, some days later; NULL days: never.
CREATE FUNCTION FN_EXPIRE_DTM(p_now DATETIME(6), p_valid_days INT) RETURNS DATETIME(6)
DETERMINISTIC
BEGIN
    RETURN TIMESTAMP(DATE(p_now)) + INTERVAL (p_valid_days + 1) DAY;
END
$$
