"""The legacy fails while it decides: away, slow, cut, killed, lying. Over HTTP, for every kind of procedure.

Each product is whole: web server, workers, a ledger's database of its own, and a proxy before its legacy.
What was done is counted in the legacy itself.
"""

from __future__ import annotations

import time

import pytest

from tests.faults.legacies import KINDS, TIMEOUT_SECONDS, Asked, Product, UnderWay, skip_unless_thorough
from tests.faults.lying import LIES
from tests.legacy_bridge.proxied import eventually
from tests.tcp_proxy import Behaviour

#: The product answers within its timeout, the moment in which it cuts, and what a busy machine adds.
BOUND_SECONDS = TIMEOUT_SECONDS + 1.0 + 2.0
#: A server that is so slow that no connection comes about is given up after a second (a connection that
#: rested is tried first) and three more.
CONNECTING_BOUND_SECONDS = 1.0 + 3.0 + 2.0

pytestmark = pytest.mark.usefixtures("quiet")


# --- G1 -----------------------------------------------------------------------------------------------------
def test_a_legacy_that_refuses_connections_costs_nothing_but_time(product: Product) -> None:
    old = Asked(product.new_account(), 40)
    first = product.ask(old)
    assert first.status == 201, first
    asked = Asked(product.new_account(), 50)

    with product.proxy.behaving(Behaviour.REFUSE):
        refused = product.ask(asked)
        assert (refused.status, refused.code) == (503, "primary_unavailable"), refused
        assert int(refused.headers["retry-after"]) >= 1
        assert product.noted(asked.key) == []
        balance = product.request("GET", f"/api/v1/accounts/{old.account}/balance")
        assert (balance.status, balance.code) == (503, "primary_unavailable"), balance
        # What needs no legacy is answered.
        replay = product.ask(old)
        assert (replay.status, replay.is_replayed, replay.body) == (201, True, first.body)
        assert product.operation(first.body["id"]).body == first.body
        assert product.request("GET", "/healthz").status == 200
        ready = product.request("GET", "/readyz")
        assert (ready.status, ready.body["down"]) == (503, ["legacy"]), ready

    assert product.legacy_rows(asked.account) == []
    # The key is free, for another body too.
    done = product.ask(Asked(asked.account, 51, key=asked.key))
    assert (done.status, done.is_replayed) == (201, False), done
    assert product.legacy_rows(asked.account) == [51]


# --- G3 and G4 ----------------------------------------------------------------------------------------------
def test_a_lost_answer_is_found_out_and_the_operation_done_once(product: Product) -> None:
    # What was not applied comes last: a recoverer that gives it again must not meet the next fault.
    attempts_of = {
        Behaviour.CUT_BEFORE_ANSWER: 1,
        Behaviour.SWALLOW_ANSWER: 1,
        Behaviour.CUT_BEFORE_FORWARD: 2,
    }
    lost = {}
    for behaviour in attempts_of:
        asked = Asked(product.new_account(), 40)
        product.proxy.behave(behaviour, when=product.last, times=1)
        answer = product.ask(asked)
        # Nobody can be asked yet, so that what a client sees meanwhile can be seen here.
        product.proxy.behave(Behaviour.REFUSE)
        assert (answer.status, answer.code) == (503, "outcome_unknown"), answer
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.seconds < BOUND_SECONDS
        again = product.ask(asked)
        assert (again.status, again.code) == (409, "operation_in_progress"), again
        assert product.operation(answer.body["operation_id"]).body["state"] == "pending"
        lost[behaviour] = (asked, answer.body["operation_id"])
    product.proxy.behave(Behaviour.PASS)

    for behaviour, (asked, operation_id) in lost.items():
        settled = product.until_settled(asked)
        assert (settled.status, settled.is_replayed) == (201, True), settled
        assert settled.body["id"] == operation_id
        product.did_once(asked)
        assert product.noted(asked.key) == [("completed", "done", attempts_of[behaviour], "recoverer")]


# --- G5 -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("product", [KINDS[0], KINDS[-1]], indirect=True, ids=lambda kind: kind.name)
def test_a_slow_legacy_is_waited_for_within_bounds_and_harms_nobody_else(product: Product) -> None:
    """Everything arrives ten seconds late, also what was sent by connections that were given up meanwhile."""
    old = Asked(product.new_account(), 40)
    first = product.ask(old)
    slow = [Asked(product.new_account(), 50 + number) for number in range(4)]
    product.proxy.behave(Behaviour.DELAY, seconds=10)

    waits = [UnderWay(product, asked) for asked in slow]
    product.proxy.wait_until_met()
    others = []
    while any(wait.is_alive() for wait in waits):
        others.append(product.ask(old))
        others.append(product.operation(first.body["id"]))
        others.append(product.request("GET", "/healthz"))
    answers = [wait.answer() for wait in waits]
    product.proxy.behave(Behaviour.PASS)

    assert {answer.status for answer in answers} == {503}, answers
    assert max(answer.seconds for answer in answers) < CONNECTING_BOUND_SECONDS, answers
    assert {answer.status for answer in others} <= {200, 201}
    assert len(others) > 10
    assert sorted(answer.seconds for answer in others)[len(others) * 9 // 10] < 0.5
    for asked in slow:
        assert product.until_settled(asked).status == 201
        product.did_once(asked)


def test_a_call_that_arrives_after_it_was_given_up_does_nothing(
    product: Product, request: pytest.FixtureRequest
) -> None:
    """Only the operation itself is late: it is asked for, and given again, before it arrives."""
    skip_unless_thorough(request, product, quick="by-id-postgresql by-marker-mariadb by-new-row")
    asked = Asked(product.new_account(), 40)
    product.proxy.behave(Behaviour.DELAY, when=product.last, times=1, seconds=3.5)
    started = time.monotonic()

    late = product.ask(asked)

    assert (late.status, late.code) == (503, "outcome_unknown"), late
    assert product.until_settled(asked).status == 201
    time.sleep(max(0.0, started + 4 - time.monotonic()))
    product.did_once(asked)


# --- the session is ended -----------------------------------------------------------------------------------
def test_a_session_that_the_server_ends_within_a_call(product: Product) -> None:
    asked = Asked(product.new_account(), 40)
    opened = Asked(asked.account, 1)
    assert product.ask(opened).status == 201
    product.beside.run("BEGIN")
    product.beside.run(product.kind.lock, asked.account)
    under_way = UnderWay(product, asked)
    eventually(lambda: product.noted(asked.key) != [])
    time.sleep(0.1)

    product.beside.kill_others()
    answer = under_way.answer()
    product.beside.run("COMMIT")

    assert answer.status == 503, answer
    assert answer.code in ("outcome_unknown", "primary_unavailable"), answer
    if answer.code == "primary_unavailable":
        # Rolled back for certain, as nothing is committed without a COMMIT of ours.
        assert product.kind.is_by_marker
        assert product.noted(asked.key) == []
    assert product.until_settled(asked).status == 201
    assert product.legacy_rows(asked.account) == [1, 40]


# --- G8 -----------------------------------------------------------------------------------------------------
def test_garbage_is_not_copied(product: Product) -> None:
    """It was done, and the answer cannot be true: asked again, the legacy tells the truth. In a transaction
    of ours it is taken back instead."""
    told = {}
    for lie in LIES:
        if lie == "half-shares" and product.kind.is_by_marker:
            continue
        asked = Asked(product.new_account(), 40, reference=f"lie:{lie}")
        told[lie] = (asked, product.ask(asked))

    for lie, (asked, answer) in told.items():
        if product.kind.is_by_marker:
            assert (answer.status, answer.code) == (503, "primary_unavailable"), (lie, answer)
            assert product.noted(asked.key) == [], lie
            assert product.legacy_rows(asked.account) == [], lie
            continue
        assert (answer.status, answer.code) == (503, "outcome_unknown"), (lie, answer)
        settled = product.until_settled(asked)
        assert (settled.status, settled.body["points"]) == (201, 40), (lie, settled)
        product.did_once(asked)


def test_a_legacy_that_lies_whenever_it_is_asked_is_left_to_a_person(product: Product) -> None:
    if product.kind.is_by_marker:
        pytest.skip("the marker is our own word")
    asked = Asked(product.new_account(), 40, reference="lie-always:null-moment")
    lost = product.ask(asked)
    assert (lost.status, lost.code) == (503, "outcome_unknown"), lost

    eventually(lambda: product.operation(lost.body["operation_id"]).body["state"] == "in_doubt", seconds=20)

    again = product.ask(asked)
    assert (again.status, again.code) == (409, "operation_in_progress"), again
    assert product.noted(asked.key)[0][:2] == ("in_doubt", "in_doubt")
    assert product.legacy_rows(asked.account) == [40]
    # The account goes on.
    assert product.ask(Asked(asked.account, 5)).status == 201


def test_a_reading_that_cannot_be_true_is_not_shown(product: Product) -> None:
    for beginning in ("liar", "liar-text"):
        account = f"{beginning}-{product.new_account()}"[:20]
        assert product.ask(Asked(account, 40)).status == 201
        balance = product.request("GET", f"/api/v1/accounts/{account}/balance")
        assert (balance.status, balance.code) == (503, "primary_unavailable"), balance
        history = product.request("GET", f"/api/v1/accounts/{account}/history")
        assert history.code in ("primary_unavailable", "not_available_in_stage"), history
