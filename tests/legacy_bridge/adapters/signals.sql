-- A legacy on MariaDB: errors by SIGNAL, answers as result sets, local time, and each procedure commits.
CREATE TABLE card (
    card_no VARCHAR(64) NOT NULL PRIMARY KEY,
    state CHAR(1) NOT NULL DEFAULT 'A'
) ENGINE = InnoDB
//
CREATE TABLE lot (
    lot_no BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    card_no VARCHAR(64) NOT NULL,
    points BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    earned_at DATETIME(6) NOT NULL,
    expires_at DATETIME NOT NULL,
    reason INT NOT NULL,
    KEY (card_no, expires_at)
) ENGINE = InnoDB
//
CREATE TABLE log (
    log_no BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    card_no VARCHAR(64) NOT NULL,
    kind CHAR(1) NOT NULL,
    points BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    reason INT NOT NULL,
    trade_no VARCHAR(100),
    cancels_log_no BIGINT,
    logged_at DATETIME(6) NOT NULL,
    KEY (card_no, log_no),
    KEY (trade_no),
    KEY (cancels_log_no)
) ENGINE = InnoDB
//
CREATE TABLE log_lot (
    log_no BIGINT NOT NULL,
    position INT NOT NULL AUTO_INCREMENT UNIQUE,
    lot_no BIGINT NOT NULL,
    points BIGINT NOT NULL,
    returned BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (log_no, position)
) ENGINE = InnoDB
//
CREATE FUNCTION seoul_now() RETURNS DATETIME(6) NOT DETERMINISTIC NO SQL
    RETURN UTC_TIMESTAMP(6) + INTERVAL 9 HOUR
//
CREATE FUNCTION available(p_card VARCHAR(64)) RETURNS BIGINT READS SQL DATA
    RETURN (SELECT COALESCE(SUM(remaining), 0) FROM lot WHERE card_no = p_card AND expires_at > seoul_now())
//
CREATE PROCEDURE answer(IN p_log BIGINT)
BEGIN
    SELECT log_no, card_no, points, balance, logged_at FROM log WHERE log_no = p_log;
    SELECT lot_no, log_lot.points, expires_at FROM log_lot JOIN lot USING (lot_no)
     WHERE log_no = p_log ORDER BY position;
END
//
CREATE PROCEDURE accrue(IN p_card VARCHAR(64), IN p_points BIGINT, IN p_reason INT, IN p_trade VARCHAR(100))
BEGIN
    DECLARE v_state CHAR(1);
    DECLARE v_log, v_lot BIGINT;
    DECLARE v_now DATETIME(6) DEFAULT seoul_now();
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    INSERT IGNORE INTO card (card_no) VALUES (p_card);
    SELECT state INTO v_state FROM card WHERE card_no = p_card FOR UPDATE;
    IF v_state <> 'A' THEN
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31002, MESSAGE_TEXT = 'card is stopped';
    END IF;
    INSERT INTO lot (card_no, points, remaining, earned_at, expires_at, reason)
    VALUES (p_card, p_points, p_points, v_now, DATE(v_now) + INTERVAL 2 YEAR, p_reason);
    SET v_lot = LAST_INSERT_ID();
    INSERT INTO log (card_no, kind, points, balance, reason, trade_no, logged_at)
    VALUES (p_card, 'A', p_points, available(p_card), p_reason, p_trade, v_now);
    SET v_log = LAST_INSERT_ID();
    INSERT INTO log_lot (log_no, lot_no, points) VALUES (v_log, v_lot, p_points);
    COMMIT;
    CALL answer(v_log);
END
//
CREATE PROCEDURE redeem(IN p_card VARCHAR(64), IN p_points BIGINT, IN p_reason INT, IN p_trade VARCHAR(100))
BEGIN
    DECLARE v_state CHAR(1) DEFAULT 'A';
    DECLARE v_log, v_lot, v_take BIGINT;
    DECLARE v_open BIGINT DEFAULT p_points;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT state INTO v_state FROM card WHERE card_no = p_card FOR UPDATE;
    IF v_state <> 'A' THEN
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31002, MESSAGE_TEXT = 'card is stopped';
    END IF;
    IF available(p_card) < p_points THEN
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = 'not enough points';
    END IF;
    INSERT INTO log (card_no, kind, points, balance, reason, trade_no, logged_at)
    VALUES (p_card, 'R', -p_points, available(p_card) - p_points, p_reason, p_trade, seoul_now());
    SET v_log = LAST_INSERT_ID();
    WHILE v_open > 0 DO
        SELECT lot_no, LEAST(remaining, v_open) INTO v_lot, v_take FROM lot
         WHERE card_no = p_card AND remaining > 0 AND expires_at > seoul_now()
         ORDER BY expires_at, lot_no LIMIT 1;
        UPDATE lot SET remaining = remaining - v_take WHERE lot_no = v_lot;
        INSERT INTO log_lot (log_no, lot_no, points) VALUES (v_log, v_lot, v_take);
        SET v_open = v_open - v_take;
    END WHILE;
    COMMIT;
    CALL answer(v_log);
END
//
CREATE PROCEDURE redeem_cancel(IN p_cancelled BIGINT, IN p_points BIGINT, IN p_reason INT, IN p_trade VARCHAR(100))
BEGIN
    DECLARE v_card VARCHAR(64);
    DECLARE v_log, v_lot, v_give, v_position, v_left BIGINT;
    DECLARE v_open BIGINT DEFAULT p_points;
    DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
    START TRANSACTION;
    SELECT card_no INTO v_card FROM log WHERE log_no = p_cancelled AND kind = 'R';
    SELECT card_no INTO v_card FROM card WHERE card_no = v_card FOR UPDATE;
    SELECT COALESCE(SUM(points - returned), 0) INTO v_left FROM log_lot WHERE log_no = p_cancelled;
    IF v_card IS NULL OR v_left < p_points THEN
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31003, MESSAGE_TEXT = 'nothing left to cancel';
    END IF;
    INSERT INTO log (card_no, kind, points, balance, reason, trade_no, cancels_log_no, logged_at)
    VALUES (v_card, 'C', p_points, 0, p_reason, p_trade, p_cancelled, seoul_now());
    SET v_log = LAST_INSERT_ID();
    WHILE v_open > 0 DO
        SELECT position, lot_no, LEAST(points - returned, v_open) INTO v_position, v_lot, v_give FROM log_lot
         WHERE log_no = p_cancelled AND points > returned ORDER BY position DESC LIMIT 1;
        UPDATE log_lot SET returned = returned + v_give WHERE position = v_position;
        UPDATE lot SET remaining = remaining + v_give WHERE lot_no = v_lot;
        INSERT INTO log_lot (log_no, lot_no, points) VALUES (v_log, v_lot, v_give);
        SET v_open = v_open - v_give;
    END WHILE;
    UPDATE log SET balance = available(v_card) WHERE log_no = v_log;
    COMMIT;
    CALL answer(v_log);
END
//
CREATE PROCEDURE card_status(IN p_card VARCHAR(64), IN p_before DATETIME)
BEGIN
    SELECT COALESCE(SUM(remaining), 0), COALESCE(SUM(IF(expires_at < p_before, remaining, 0)), 0)
      FROM lot WHERE card_no = p_card AND expires_at > seoul_now();
    SELECT lot_no, points, remaining, earned_at, expires_at, reason FROM lot
     WHERE card_no = p_card AND remaining > 0 AND expires_at > seoul_now() ORDER BY expires_at, lot_no;
END
//
