"""A legacy that counts, slowly and stubbornly."""

from __future__ import annotations

from legacy_bridge.calling import call_procedure
from legacy_bridge.sessions import session
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.proxied import (
    Beside,
)

TIMEOUT = 0.6

POSTGRESQL = """
CREATE TABLE counter (number int PRIMARY KEY, value int NOT NULL)
//
INSERT INTO counter VALUES (1, 0), (2, 0)
//
CREATE TABLE later (number int PRIMARY KEY, other int REFERENCES later DEFERRABLE INITIALLY DEFERRED)
//
CREATE PROCEDURE add_slowly(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    PERFORM pg_sleep(p_seconds);
END $$
//
CREATE PROCEDURE add_stubbornly(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    BEGIN
        PERFORM pg_sleep(p_seconds);
    EXCEPTION WHEN query_canceled THEN
        PERFORM pg_sleep(p_seconds);
    END;
END $$
//
CREATE PROCEDURE add_and_commit(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    COMMIT;
    PERFORM pg_sleep(p_seconds);
END $$
"""
MARIADB = """
CREATE TABLE counter (number INT PRIMARY KEY, value INT NOT NULL) ENGINE = InnoDB
//
INSERT INTO counter VALUES (1, 0), (2, 0)
//
CREATE PROCEDURE add_slowly(IN p_seconds DOUBLE)
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    SELECT SLEEP(p_seconds);
END
//
CREATE PROCEDURE add_and_leave_open()
BEGIN
    START TRANSACTION;
    UPDATE counter SET value = value + 1 WHERE number = 1;
    SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'left open';
END
//
CREATE PROCEDURE add_stubbornly(IN p_seconds DOUBLE)
BEGIN
    DECLARE v_turns INT DEFAULT 0;
    UPDATE counter SET value = value + 1 WHERE number = 1;
    WHILE v_turns < 10 * p_seconds DO
        DO SLEEP(0.1);
        SET v_turns = v_turns + 1;
    END WHILE;
END
//
CREATE PROCEDURE add_and_commit(IN p_seconds DOUBLE)
BEGIN
    START TRANSACTION;
    UPDATE counter SET value = value + 1 WHERE number = 1;
    COMMIT;
    SELECT SLEEP(p_seconds);
END
"""
SLEEP = {"postgresql": "SELECT pg_sleep(5)", "mysql": "SELECT SLEEP(5)"}


def prepare_postgresql() -> None:
    with session() as opened:
        run_text(opened, POSTGRESQL)


def prepare_mariadb() -> None:
    with session() as opened:
        run_text(opened, MARIADB)


def value(beside: Beside, number: int = 1) -> int:
    return beside.run("SELECT value FROM counter WHERE number = %s", number)[0][0]


def assert_usable() -> None:
    with session() as opened:
        assert opened.query("SELECT 1") == [(1,)]


def call(name: str, seconds: float = 0.0) -> None:
    with session() as opened:
        call_procedure(opened, name, [seconds])
