"""The ledger decides, and the legacy's answers are lost while it is told: what it did is found out, and
nothing is told twice. On legacies of each kind: settled by our id, by a marker, by new rows.

`--kills N` loses N times as many (docs/operating/testing.md).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from tests.faults.legacies import Asked, Product
from tests.legacy_bridge.proxied import COMMIT, eventually
from tests.tcp_proxy import Behaviour

_STAGES = ("LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST")
_MESSAGES = """
SELECT message.state, message.failure, message.attempts, operation.counterpart_id IS NOT NULL
FROM cutover_message AS message JOIN ledger_operation AS operation ON operation.id = message.operation_id
WHERE message.account_number = %s ORDER BY message.id
"""


def set_stage(product: Product, stage: str) -> None:
    """Move there one step after the other, and wait until every process knows."""
    move = "UPDATE cutover_route SET epoch = epoch + 1, "
    product.wrapped.query(f"{move} capture = true WHERE NOT capture")
    while True:
        ((now,),) = product.wrapped.query("SELECT stage FROM cutover_route WHERE cohort = 'default'")
        if now == stage:
            break
        step = 1 if _STAGES.index(now) < _STAGES.index(stage) else -1
        product.wrapped.query(f"{move} stage = %s", [_STAGES[_STAGES.index(now) + step]])
    time.sleep(0.5)


@pytest.fixture
def mirrored(product: Product) -> Iterator[Product]:
    """The product while the ledger decides; afterwards the legacy does again, and nothing is owed."""
    product.proxy.behave(Behaviour.PASS)
    # The route is made when somebody first asks.
    assert product.request("GET", "/api/v1/accounts/nobody/balance").status == 200
    set_stage(product, "NEW_FIRST")
    yield product
    product.proxy.behave(Behaviour.PASS)
    set_stage(product, "LEGACY_ONLY")
    assert product.server_errors() == []


def told(product: Product, account: str, *, messages: int = 1) -> bool:
    return [row[0] for row in product.wrapped.query(_MESSAGES, [account])] == ["applied"] * messages


def until_told(product: Product, accounts: list[str], *, seconds: float, messages: int = 1) -> None:
    eventually(
        lambda: all(told(product, account, messages=messages) for account in accounts), seconds=seconds
    )


def test_answers_lost_while_the_legacy_is_told_are_found_out(
    mirrored: Product, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(mirrored.kind.name)
    lost: dict[str, tuple[int, bool]] = {}
    for number in range(4 * request.config.getoption("--kills")):
        account, is_applied = mirrored.new_account(), number % 2 == 0
        behaviour = Behaviour.CUT_BEFORE_FORWARD
        if is_applied:
            behaviour = rng.choice([Behaviour.CUT_BEFORE_ANSWER] * 3 + [Behaviour.SWALLOW_ANSWER])
        when = mirrored.last if mirrored.kind.is_by_marker else f"('{account}'".encode()
        mirrored.proxy.behave(behaviour, when=when, times=1)
        asked = Asked(account, 100 + number)
        assert mirrored.ask(asked).status == 201
        mirrored.proxy.wait_until_met()
        lost[account] = (asked.points, is_applied)
        mirrored.proxy.behave(Behaviour.PASS)
        # One at a time: a COMMIT does not say whose it is.
        until_told(mirrored, [account], seconds=60)

    for account, (points, is_applied) in lost.items():
        assert mirrored.legacy_rows(account) == [points], (account, is_applied)
        ((state, failure, attempts, is_tied),) = mirrored.wrapped.query(_MESSAGES, [account])
        assert (state, failure, is_tied) == ("applied", "", True)
        # What was applied is never given again, and what was not is.
        assert (attempts == 1) is is_applied, (account, attempts)


def test_many_that_are_told_at_once_are_done_once_when_the_last_word_is_lost(
    mirrored: Product, request: pytest.FixtureRequest
) -> None:
    kind = mirrored.kind
    last = COMMIT["postgresql"] if kind.vendor == "postgresql" else mirrored.last
    for behaviour in (Behaviour.CUT_BEFORE_FORWARD, Behaviour.CUT_BEFORE_ANSWER) * request.config.getoption(
        "--kills"
    ):
        # What waits meanwhile is told at once when the legacy is back.
        mirrored.proxy.behave(Behaviour.REFUSE)
        accounts = [mirrored.new_account() for _ in range(6)]
        for account in accounts:
            for points in (10, 20, 30):
                assert mirrored.ask(Asked(account, points)).status == 201
        mirrored.proxy.behave(behaviour, when=last, times=2)
        mirrored.proxy.wait_until_met(60)

        until_told(mirrored, accounts, messages=3, seconds=60)

        assert [mirrored.legacy_rows(account) for account in accounts] == [[10, 20, 30]] * 6


def test_a_legacy_that_is_away_costs_no_answer_and_is_told_when_it_is_back(mirrored: Product) -> None:
    mirrored.proxy.behave(Behaviour.REFUSE)
    accounts = [mirrored.new_account() for _ in range(8)]
    answers = [mirrored.ask(Asked(account, 30)) for account in accounts]
    time.sleep(2)
    owed = [mirrored.legacy_rows(account) for account in accounts]

    mirrored.proxy.behave(Behaviour.PASS)
    until_told(mirrored, accounts, seconds=60)

    assert [answer.status for answer in answers] == [201] * 8
    assert owed == [[]] * 8
    assert [mirrored.legacy_rows(account) for account in accounts] == [[30]] * 8


def test_an_account_that_the_legacy_keeps_waiting_stops_no_other(mirrored: Product) -> None:
    slow, others = mirrored.new_account(), [mirrored.new_account() for _ in range(6)]
    assert mirrored.ask(Asked(slow, 10)).status == 201
    until_told(mirrored, [slow], seconds=30)
    mirrored.beside.run("BEGIN")
    try:
        mirrored.beside.run(mirrored.kind.lock, slow)
        assert mirrored.ask(Asked(slow, 20)).status == 201
        for account in others:
            assert mirrored.ask(Asked(account, 30)).status == 201
        until_told(mirrored, others, seconds=30)
        assert mirrored.legacy_rows(slow) == [10]
    finally:
        mirrored.beside.run("ROLLBACK")

    eventually(lambda: mirrored.legacy_rows(slow) == [10, 20], seconds=40)
    eventually(
        lambda: [row[0] for row in mirrored.wrapped.query(_MESSAGES, [slow])] == ["applied"] * 2, seconds=40
    )
