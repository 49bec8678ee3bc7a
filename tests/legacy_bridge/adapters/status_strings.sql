-- A legacy on MariaDB: keys CHAR(36), an OUT parameter that says SUCCESS or ERROR, days in UTC, no COMMIT.
CREATE TABLE wallet (
    member CHAR(36) NOT NULL PRIMARY KEY,
    is_blocked BOOLEAN NOT NULL DEFAULT FALSE
) ENGINE = InnoDB
//
CREATE TABLE granted (
    grant_id CHAR(36) NOT NULL PRIMARY KEY,
    member CHAR(36) NOT NULL,
    points BIGINT NOT NULL,
    left_over BIGINT NOT NULL,
    granted_at DATETIME(6) NOT NULL,
    lapses_on DATE NOT NULL,
    KEY (member, lapses_on)
) ENGINE = InnoDB
//
CREATE TABLE movement (
    movement_id CHAR(36) NOT NULL PRIMARY KEY,
    turn BIGINT NOT NULL AUTO_INCREMENT UNIQUE,
    member CHAR(36) NOT NULL,
    what VARCHAR(8) NOT NULL,
    points BIGINT NOT NULL,
    balance BIGINT NOT NULL,
    code CHAR(8) NOT NULL,
    order_no VARCHAR(64),
    undoes CHAR(36) UNIQUE,
    made_by VARCHAR(80) NOT NULL,
    made_at DATETIME(6) NOT NULL,
    KEY (member, turn)
) ENGINE = InnoDB
//
CREATE TABLE taken (
    movement_id CHAR(36) NOT NULL,
    grant_id CHAR(36) NOT NULL,
    points BIGINT NOT NULL,
    PRIMARY KEY (movement_id, grant_id)
) ENGINE = InnoDB
//
CREATE FUNCTION f_available(p_member CHAR(36)) RETURNS BIGINT READS SQL DATA
    RETURN (SELECT COALESCE(SUM(left_over), 0) FROM granted
             WHERE member = p_member AND lapses_on > UTC_DATE())
//
CREATE PROCEDURE p_note(IN p_member CHAR(36), IN p_what VARCHAR(8), IN p_points BIGINT, IN p_code CHAR(8),
    IN p_order_no VARCHAR(64), IN p_undoes CHAR(36),
    INOUT p_movement_id CHAR(36), OUT p_balance BIGINT, OUT p_made_at DATETIME(6))
BEGIN
    SET p_balance = f_available(p_member), p_made_at = UTC_TIMESTAMP(6);
    INSERT INTO movement (movement_id, member, what, points, balance, code, order_no, undoes, made_by, made_at)
    VALUES (p_movement_id, p_member, p_what, p_points, p_balance, p_code, p_order_no, p_undoes, USER(), p_made_at);
END
//
CREATE PROCEDURE p_grant(IN p_member CHAR(36), IN p_points BIGINT, IN p_code CHAR(8), IN p_order_no VARCHAR(64),
    OUT p_movement_id CHAR(36), OUT p_balance BIGINT, OUT p_made_at DATETIME(6), OUT p_result VARCHAR(100))
grant_points: BEGIN
    DECLARE v_blocked BOOLEAN;
    INSERT IGNORE INTO wallet (member) VALUES (p_member);
    SELECT is_blocked INTO v_blocked FROM wallet WHERE member = p_member FOR UPDATE;
    IF v_blocked THEN
        SET p_result = 'ERROR: MEMBER IS BLOCKED';
        LEAVE grant_points;
    END IF;
    SET p_movement_id = UUID();
    INSERT INTO granted (grant_id, member, points, left_over, granted_at, lapses_on)
    VALUES (p_movement_id, p_member, p_points, p_points, UTC_TIMESTAMP(6), UTC_DATE() + INTERVAL 1 YEAR);
    CALL p_note(p_member, 'GRANT', p_points, p_code, p_order_no, NULL, p_movement_id, p_balance, p_made_at);
    SET p_result = 'SUCCESS';
END
//
CREATE PROCEDURE p_use(IN p_member CHAR(36), IN p_points BIGINT, IN p_code CHAR(8), IN p_order_no VARCHAR(64),
    OUT p_movement_id CHAR(36), OUT p_balance BIGINT, OUT p_made_at DATETIME(6), OUT p_result VARCHAR(100))
use_points: BEGIN
    DECLARE v_blocked BOOLEAN DEFAULT FALSE;
    DECLARE v_open BIGINT DEFAULT p_points;
    DECLARE v_take BIGINT;
    DECLARE v_grant_id CHAR(36);
    SELECT is_blocked INTO v_blocked FROM wallet WHERE member = p_member FOR UPDATE;
    IF v_blocked THEN
        SET p_result = 'ERROR: MEMBER IS BLOCKED';
        LEAVE use_points;
    END IF;
    IF f_available(p_member) < p_points THEN
        SET p_result = CONCAT('ERROR: NOT ENOUGH POINTS (', f_available(p_member), ')');
        LEAVE use_points;
    END IF;
    SET p_movement_id = UUID();
    WHILE v_open > 0 DO
        SELECT grant_id, LEAST(left_over, v_open) INTO v_grant_id, v_take FROM granted
         WHERE member = p_member AND left_over > 0 AND lapses_on > UTC_DATE()
         ORDER BY lapses_on, granted_at, grant_id LIMIT 1;
        UPDATE granted SET left_over = left_over - v_take WHERE grant_id = v_grant_id;
        INSERT INTO taken VALUES (p_movement_id, v_grant_id, v_take);
        SET v_open = v_open - v_take;
    END WHILE;
    CALL p_note(p_member, 'USE', -p_points, p_code, p_order_no, NULL, p_movement_id, p_balance, p_made_at);
    SET p_result = 'SUCCESS';
END
//
CREATE PROCEDURE p_undo(IN p_undone_id CHAR(36), IN p_code CHAR(8), IN p_order_no VARCHAR(64),
    OUT p_movement_id CHAR(36), OUT p_balance BIGINT, OUT p_made_at DATETIME(6), OUT p_result VARCHAR(100))
undo_movement: BEGIN
    DECLARE v_member CHAR(36);
    DECLARE v_what VARCHAR(8);
    DECLARE v_points BIGINT;
    SELECT member, what, points INTO v_member, v_what, v_points FROM movement WHERE movement_id = p_undone_id;
    SELECT member INTO v_member FROM wallet WHERE member = v_member FOR UPDATE;
    IF v_what IS NULL OR v_what NOT IN ('GRANT', 'USE')
       OR EXISTS (SELECT 1 FROM movement WHERE undoes = p_undone_id) THEN
        SET p_result = 'ERROR: NOTHING TO UNDO';
        LEAVE undo_movement;
    END IF;
    SET p_movement_id = UUID();
    IF v_what = 'GRANT' THEN
        UPDATE granted SET left_over = 0 WHERE grant_id = p_undone_id AND left_over = points;
        IF ROW_COUNT() = 0 THEN
            SET p_result = 'ERROR: ALREADY USED';
            LEAVE undo_movement;
        END IF;
    ELSE
        UPDATE granted JOIN taken USING (grant_id) SET left_over = left_over + taken.points
         WHERE movement_id = p_undone_id;
    END IF;
    CALL p_note(v_member, CONCAT('UN', v_what), -v_points, p_code, p_order_no, p_undone_id,
                p_movement_id, p_balance, p_made_at);
    SET p_result = 'SUCCESS';
END
//
CREATE PROCEDURE p_balance(IN p_member CHAR(36), IN p_before DATE,
    OUT p_available BIGINT, OUT p_expiring BIGINT, OUT p_next_expiry DATE)
BEGIN
    SET p_available = f_available(p_member);
    SELECT COALESCE(SUM(IF(lapses_on < p_before, left_over, 0)), 0), MIN(lapses_on)
      INTO p_expiring, p_next_expiry
      FROM granted WHERE member = p_member AND left_over > 0 AND lapses_on > UTC_DATE();
END
//
