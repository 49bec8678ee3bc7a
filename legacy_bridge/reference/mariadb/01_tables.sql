-- Tables of the point system. Amounts change in place, times are local and without a zone, keys are padded.
-- Keys compare by their bytes: two members may differ in case only.
DELIMITER $$

CREATE TABLE PT_CONFIG (
    CFG_KEY     VARCHAR(30)  NOT NULL,
    CFG_VAL     VARCHAR(100) NOT NULL,
    PRIMARY KEY (CFG_KEY)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

-- One row or none: the moment at which the whole system stands, for replays of past months.
CREATE TABLE PT_CLOCK (
    ROW_NO      SMALLINT     NOT NULL DEFAULT 1,
    FIXED_DTM   DATETIME(6)  NOT NULL,
    PRIMARY KEY (ROW_NO),
    CONSTRAINT CK_PT_CLOCK_ONE_ROW CHECK (ROW_NO = 1)
) ENGINE = InnoDB
$$

CREATE TABLE PT_TYPE (
    TYPE_CD     CHAR(2)      NOT NULL,
    TYPE_NM     VARCHAR(50)  NOT NULL,
    VALID_DAYS  INT          NULL,      -- NULL: never lapses
    PRIMARY KEY (TYPE_CD)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

CREATE TABLE PT_MBR (
    MBR_NO      CHAR(20)     NOT NULL,
    STAT_CD     CHAR(1)      NOT NULL DEFAULT 'A',  -- A: active, B: blocked
    REG_DTM     DATETIME(6)  NOT NULL,
    PRIMARY KEY (MBR_NO)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

CREATE TABLE PT_LOT (
    LOT_SEQ     BIGINT       NOT NULL AUTO_INCREMENT,
    MBR_NO      CHAR(20)     NOT NULL,
    TYPE_CD     CHAR(2)      NOT NULL,
    SAVE_AMT    BIGINT       NOT NULL,
    REMAIN_AMT  BIGINT       NOT NULL,
    SAVE_DTM    DATETIME(6)  NOT NULL,
    EXPIRE_DTM  DATETIME(6)  NULL,      -- NULL: never
    UPD_DTM     DATETIME(6)  NOT NULL,
    -- Lots with something left are few, and found by an index however many there once were.
    OPEN_YN     CHAR(1)      AS (IF(REMAIN_AMT > 0, 'Y', 'N')) PERSISTENT,
    PRIMARY KEY (LOT_SEQ),
    KEY IX_PT_LOT_MBR (MBR_NO, OPEN_YN, SAVE_DTM, LOT_SEQ),
    KEY IX_PT_LOT_EXPIRE (OPEN_YN, EXPIRE_DTM)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

CREATE TABLE PT_HIST (
    HIST_SEQ    BIGINT       NOT NULL AUTO_INCREMENT,
    MBR_NO      CHAR(20)     NOT NULL,
    HIST_CD     CHAR(2)      NOT NULL,  -- SV save, US use, SC save cancelled, UC use cancelled, EX lapsed, AD by hand
    TYPE_CD     CHAR(2)      NULL,      -- NULL: lapsed
    AMT         BIGINT       NOT NULL,  -- signed
    BAL_AMT     BIGINT       NOT NULL,  -- what could be spent after it
    TRADE_NO    VARCHAR(64)  NULL,
    REQ_ID      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    ORG_SEQ     BIGINT       NULL,      -- the row that this one cancels
    REG_ID      VARCHAR(20)  NOT NULL,
    REG_DTM     DATETIME(6)  NOT NULL,
    PRIMARY KEY (HIST_SEQ),
    UNIQUE KEY UX_PT_HIST_REQ (REQ_ID),
    KEY IX_PT_HIST_MBR (MBR_NO, HIST_SEQ),
    KEY IX_PT_HIST_ORG (ORG_SEQ),
    KEY IX_PT_HIST_TRADE (TRADE_NO),
    KEY IX_PT_HIST_DTM (REG_DTM)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

CREATE TABLE PT_HIST_LOT (
    HIST_SEQ    BIGINT       NOT NULL,
    ORD_NO      INT          NOT NULL,
    LOT_SEQ     BIGINT       NOT NULL,
    AMT         BIGINT       NOT NULL,  -- signed
    PRIMARY KEY (HIST_SEQ, ORD_NO)
) ENGINE = InnoDB
$$

CREATE TABLE PT_STAT_MONTH (
    STAT_YM     CHAR(6)      NOT NULL,
    HIST_CD     CHAR(2)      NOT NULL,
    TYPE_CD     CHAR(2)      NOT NULL,
    CNT         BIGINT       NOT NULL,
    AMT         BIGINT       NOT NULL,
    PRIMARY KEY (STAT_YM, HIST_CD, TYPE_CD)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin
$$

INSERT INTO PT_CONFIG (CFG_KEY, CFG_VAL) VALUES ('TIME_ZONE', '+09:00')
$$

INSERT INTO PT_TYPE (TYPE_CD, TYPE_NM, VALID_DAYS) VALUES
    ('11', 'Order reward',    365),
    ('12', 'Review',          365),
    ('13', 'Event',           365),
    ('14', 'Gift card',       NULL),
    ('15', 'Compensation',    365),
    ('21', 'Order payment',   365),
    ('22', 'Gift',            365),
    ('31', 'Order cancelled', 365),
    ('39', 'Correction',      365)
$$
