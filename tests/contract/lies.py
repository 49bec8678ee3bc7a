"""Lies, each with the cases that must find it out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.contract.lying import Asked, Lie, Told, problem

Ask = Callable[[Asked], Told]


def on_operations(change: Callable[[dict[str, Any]], Any]) -> Lie:
    """Changes each operation that is answered alone."""

    def lie(asked: Asked, ask: Ask) -> Told:
        answer = ask(asked)
        if answer.is_operation and not asked.is_of(":batch") and isinstance(answer.json, dict):
            value = answer.json
            if "id" in value:
                change(value)
                answer.json = value
        return answer

    return lie


def on_json(ending: str, change: Callable[[Any], Any]) -> Lie:
    """Changes what a read of `ending` gives."""

    def lie(asked: Asked, ask: Ask) -> Told:
        answer = ask(asked)
        if asked.is_of(ending) and answer.status == 200:
            value = answer.json
            change(value)
            answer.json = value
        return answer

    return lie


def on_answer(change: Callable[[Asked, Told], Any]) -> Lie:
    def lie(asked: Asked, ask: Ask) -> Told:
        answer = ask(asked)
        change(asked, answer)
        return answer

    return lie


def with_other_keys(asked: Asked, ask: Ask) -> Told:
    """Idempotency-Key is ignored: whatever comes again is done again."""
    asked.headers = [
        (name, f"{uuid4()}" if name.lower() == "idempotency-key" else value) for name, value in asked.headers
    ]
    return ask(asked)


def with_500(asked: Asked, ask: Ask) -> Told:
    answer = ask(asked)
    return Told(500, {"content-type": "text/html"}, b"<h1>Oops</h1>") if answer.status == 400 else answer


def twice(asked: Asked, ask: Ask) -> Told:
    """Each spend is done a second time, under a key of its own."""
    answer = ask(asked)
    if asked.is_of("/spend") and answer.status == 201:
        with_other_keys(asked, ask)
    return answer


def without_refusals(asked: Asked, ask: Ask) -> Told:
    """What is too much is spent as far as it goes, and called done."""
    answer = ask(asked)
    if answer.status != 422 or b"insufficient_points" not in answer.body:
        return answer
    granted = with_other_keys(
        Asked("POST", asked.path.replace("/spend", "/earn"), asked.headers, b'{"points":1,"reason":"EVENT"}'),
        ask,
    )
    granted.json = {**granted.json, "kind": "spend", "points": json.loads(asked.body)["points"]}
    return granted


def forgetful(asked: Asked, ask: Ask) -> Told:
    """Preferring to wait is answered, and nothing is done."""
    if asked.header("prefer") is None:
        return ask(asked)
    return problem(503, "account_busy", Retry_After="1")


def add(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda found: found.update({name: value})


def header(name: str, value: str | None) -> Lie:
    def change(_: Asked, answer: Told) -> None:
        if value is None:
            answer.headers.pop(name, None)
        elif name in answer.headers:
            answer.headers[name] = value

    return on_answer(change)


def _other_body(asked: Asked, answer: Told) -> None:
    if "idempotency-replayed" in answer.headers:
        answer.body = answer.body.replace(b'",', b'", ')


def _path_in_detail(asked: Asked, answer: Told) -> None:
    if answer.status == 404:
        answer.json = {**answer.json, "detail": f"There is no {asked.path}."}


def _forbidden(asked: Asked, answer: Told) -> None:
    if answer.status == 404 and asked.method == "GET":
        answer.status = 403
        answer.json = {
            **answer.json,
            "status": 403,
            "code": "scope_missing",
            "type": "urn:pointsystem:problem:scope_missing",
        }


def _other_code(asked: Asked, answer: Told) -> None:
    if answer.status == 422:
        answer.body = answer.body.replace(b"insufficient_points", b"not_enough_points")


def _no_stored_operation(asked: Asked, answer: Told) -> None:
    if answer.status == 422:
        value = answer.json
        value.pop("operation_id", None)
        answer.json = value


def _balance(change: Callable[[dict[str, Any]], Any]) -> Lie:
    return on_json("/balance", change)


LIES: dict[str, tuple[Lie, list[str]]] = {
    "a balance is off by one": (
        _balance(lambda found: found.update(available=found["available"] + 1)),
        ["writes.earns_add_up", "reads.a_never_seen_account_has_nothing", "storms.no_earn_is_lost"],
    ),
    "a balance is a float": (
        _balance(lambda found: found.update(available=float(found["available"]))),
        ["writes.earns_add_up", "reads.a_never_seen_account_has_nothing"],
    ),
    "a time has an offset": (
        on_operations(lambda found: found.update(recorded_at=found["recorded_at"].replace("Z", "+00:00"))),
        ["writes.earn_answers_the_operation", "operations.operations_are_found_by_reference"],
    ),
    "an id is in upper case": (
        on_operations(lambda found: found.update(id=found["id"].upper())),
        ["writes.earn_answers_the_operation"],
    ),
    "a member too many": (
        on_operations(add("decided_by", "legacy")),
        ["writes.earn_answers_the_operation", "cancels.cancel_of_a_spend_answers_the_operation"],
    ),
    "a member is missing": (
        on_operations(lambda found: found.pop("metadata")),
        ["writes.spend_answers_the_operation", "transfers.a_transfer_answers_the_operation"],
    ),
    "points are text": (
        on_operations(lambda found: found.update(points=str(found["points"]))),
        ["writes.earn_answers_the_operation"],
    ),
    "a reference is lost": (
        on_operations(add("reference", None)),
        ["writes.a_write_keeps_what_it_was_told", "later.an_earn_may_be_done_later"],
    ),
    "what can be cancelled never goes down": (
        on_operations(lambda found: found["cancellable_points"] and found.update(cancellable_points=60)),
        ["cancels.an_operation_tells_what_can_still_be_cancelled"],
    ),
    "the balance after is wrong": (
        on_operations(lambda found: found.update(balance_after=0)),
        ["writes.earn_reports_its_lot_and_the_balance", "writes.spend_reports_what_it_took"],
    ),
    "a replay has other bytes": (
        on_answer(_other_body),
        ["keys.an_earn_sent_again_is_one_earn", "keys.a_refusal_is_an_outcome_that_stays"],
    ),
    "a replay is not marked": (
        header("idempotency-replayed", None),
        ["keys.a_spend_sent_again_is_one_spend", "storms.twenty_earns_with_one_key_are_one"],
    ),
    "keys are ignored": (
        with_other_keys,
        [
            "keys.an_earn_sent_again_is_one_earn",
            "keys.a_spend_sent_again_is_one_spend",
            "keys.another_body_is_refused",
            "keys.a_refusal_is_an_outcome_that_stays",
            "keys.keys_are_told_apart_exactly",
            "storms.twenty_earns_with_one_key_are_one",
            "storms.twenty_cancels_with_one_key_are_one",
            "storms.one_key_with_many_bodies_is_one_request",
            "transfers.a_transfer_sent_again_is_one_transfer",
        ],
    ),
    "a spend is done twice": (
        twice,
        ["writes.spend_answers_the_operation", "writes.who_was_told_of_a_write_reads_it"],
    ),
    "too much can be spent": (
        without_refusals,
        ["writes.nobody_overspends", "storms.many_spenders_never_overspend"],
    ),
    "bad input is an error of the server": (
        with_500,
        ["bad_input.what_is_no_json_is_refused", "pages.page_sizes_are_read_strictly"],
    ),
    "a code of its own": (on_answer(_other_code), ["writes.nobody_overspends"]),
    "an outcome without its operation": (
        on_answer(_no_stored_operation),
        ["writes.nobody_overspends", "operations.a_refused_operation_is_found_as_failed"],
    ),
    "no id of the request": (header("x-request-id", None), ["writes.earns_add_up"]),
    "an id of another request": (header("x-request-id", "fixed"), ["http.a_request_id_comes_back"]),
    "another content type": (header("content-type", "text/json"), ["writes.earns_add_up"]),
    "no Location": (header("location", None), ["writes.earn_answers_the_operation"]),
    "no Allow": (header("allow", None), ["http.another_method_is_not_allowed"]),
    "an unknown id is told from a foreign one": (
        on_answer(_path_in_detail),
        [
            "operations.the_operation_of_another_is_not_found",
            "operations.the_operation_of_another_is_not_cancelled",
        ],
    ),
    "a foreign operation is forbidden": (
        on_answer(_forbidden),
        ["operations.the_operation_of_another_is_not_found"],
    ),
    "the newest line is missing": (
        on_json("/history", lambda found: found["data"].__delitem__(slice(0, 1))),
        ["reads.history_has_each_movement", "storms.a_storm_leaves_a_history_that_sums_up"],
    ),
    "history is oldest first": (
        on_json("/history", lambda found: found["data"].reverse()),
        ["reads.history_has_each_movement", "pages.history_is_walked_there_and_back"],
    ),
    "there is no way back": (
        on_json("/history", add("previous", None)),
        ["pages.history_is_walked_there_and_back"],
    ),
    "a page never ends": (
        on_json("/lots", add("next", "bnxh")),
        ["pages.lots_are_walked_there_and_back"],
    ),
    "lots never shrink": (
        on_json("/lots", lambda found: [lot.update(remaining=lot["points"]) for lot in found["data"]]),
        ["lots.lots_sum_to_the_balance", "lots.ids_of_lots_stay"],
    ),
    "a time to come again is not told": (
        lambda asked, ask: problem(503, "account_busy"),
        ["writes.earns_add_up"],
    ),
    "the connection is closed": (lambda asked, ask: None, ["writes.earns_add_up"]),
    "what is preferred to be done later is not done": (forgetful, ["later.an_earn_may_be_done_later"]),
}
