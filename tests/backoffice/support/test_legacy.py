"""While the legacy decides the desk works too: what the legacy tells is shown, what it does not is said."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger import door
from ledger.models import Entry, Operation
from legacy_bridge import configured
from legacy_bridge.adapter import Feature
from legacy_bridge.reference.adapters import PostgreSQLReference
from pointsystem.backoffice.support import account_page, requests
from pointsystem.backoffice.support.confirming import confirm
from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import Move
from pointsystem.backoffice.support.previews import preview
from pointsystem.backoffice.support.searching import search
from tests.backoffice.support.people import deduct_of, grant_of, make_person, signed_in, text_of
from tests.cutover.conftest import (  # noqa: F401
    _databases,
    at_own_database,
    legacy_database,
    legacy_only,
    own_database,
    set_stage,
)
from tests.factories import account_number
from tests.legacy_bridge.proxied import connecting_to


class TellsLittle(PostgreSQLReference):
    """A legacy without lots and history that anybody could see, and without a word on expiry."""

    features = PostgreSQLReference.features - {Feature.LOTS, Feature.ALL_LOTS, Feature.HISTORY}
    tells_expiring = False
    tells_next_expiry = False


@pytest.fixture
def by_legacy(legacy_only: Any, settings: Any) -> Iterator[Any]:  # noqa: F811
    """The product asks the legacy, through the face of the cutover."""
    settings.POINTS_FACE = "cutover.face"
    door.face.cache_clear()
    yield legacy_only
    door.face.cache_clear()


@pytest.fixture
def supporter(by_legacy: Any) -> User:
    return make_person("support")


@pytest.fixture
def number(by_legacy: Any) -> str:
    return account_number()


def shown(browser: Browser, name: str, *arguments: Any) -> str:
    answer = browser.get(reverse(f"admin:{name}", args=arguments))
    assert answer.status_code == 200
    return text_of(answer)  # type: ignore[arg-type]


def cancel_of(number: str, operation_id: Any, points: int) -> Move:
    return Move(
        kind=MoveKind.CANCEL,
        key=uuid4(),
        account_number=number,
        points=points,
        reason="CORRECTION",
        note="wrong order",
        cancelled_operation_id=operation_id,
    )


def granted(number: str, person: User, points: int, **values: Any) -> Any:
    outcome = confirm(move=grant_of(number, points, **values), person=person).outcome
    assert outcome is not None
    return outcome.operation


def test_a_grant_and_a_deduction_are_an_earn_and_a_spend_of_the_legacy(number: str, supporter: User) -> None:
    granted(number, supporter, 100)
    done = confirm(move=deduct_of(number, 30), person=supporter).outcome

    assert done is not None
    assert door.face().balance(account_number=number).available == 70
    rows = Operation.objects.filter(account_number=number).order_by("id")
    assert list(rows.values_list("kind", "points", "actor", "decided_elsewhere")) == [
        ("earn", 100, supporter.username, True),
        ("spend", 30, supporter.username, True),
    ]
    assert not Entry.objects.filter(operation__account_number=number).exists()


def test_the_page_shows_what_the_legacy_tells_and_says_what_it_does_not(number: str, supporter: User) -> None:
    granted(number, supporter, 100, reference="ticket-7")
    confirm(move=deduct_of(number, 30), person=supporter)

    page = shown(signed_in(supporter), "support_account", number)

    assert "Available now 70 As the legacy says, which decides for this account." in page
    assert "balances are read from it and never from the cache" in page
    assert "This is the history as the legacy tells it." in page
    assert "ticket-7" in page
    assert "−30" in page


def test_what_the_legacy_cannot_tell_is_said_and_never_shown_as_0(
    number: str, supporter: User, settings: Any
) -> None:
    granted(number, supporter, 100)
    settings.LEGACY_ADAPTER = f"{__name__}.TellsLittle"
    configured.adapter.cache_clear()

    page = shown(signed_in(supporter), "support_account", number)

    assert "Available now 100" in page
    assert "Expiring soon The legacy does not tell." in page
    assert page.count("The point system that decides now cannot tell this.") == 2


def test_what_the_legacy_does_not_know_stands_beside_its_history(
    number: str, supporter: User, by_legacy: Any
) -> None:
    granted(number, supporter, 100)
    assert confirm_refused(lambda: confirm(move=deduct_of(number, 500), person=supporter)) == (
        "insufficient_points"
    )
    block = Move(kind=MoveKind.BLOCK, key=uuid4(), account_number=number, note="a complaint")
    confirm(move=block, person=make_person("support lead"))

    page = shown(signed_in(supporter), "support_account", number)

    _, beside = page.split("What the legacy does not know")
    assert "a complaint" in beside
    assert "spend 500" in beside
    assert "earn 100" not in beside


def test_an_account_that_only_the_legacy_knows_is_found(number: str, supporter: User) -> None:
    only = search(term=number).only

    assert only is not None
    assert getattr(only, "account_number", None) == number


def test_a_preview_of_a_deduction_shows_the_lots_that_the_legacy_would_take(
    number: str, supporter: User
) -> None:
    granted(number, supporter, 100)
    before = Operation.objects.count()

    effect = preview(move=deduct_of(number, 30), actor="kim")

    assert [share.points for share in effect.lots or []] == [30]
    assert (effect.available_before, effect.available_after) == (100, 70)
    assert preview(move=deduct_of(number, 101), actor="kim").refusal is not None
    assert Operation.objects.count() == before


def test_a_preview_of_a_cancel_says_what_only_the_legacy_knows(number: str, supporter: User) -> None:
    granted(number, supporter, 100)
    spent = confirm(move=deduct_of(number, 30), person=supporter).outcome
    assert spent is not None

    effect = preview(move=cancel_of(number, spent.operation.id, 20), actor="kim")
    confirm(move=cancel_of(number, spent.operation.id, 20), person=supporter)

    assert effect.available_after is None
    assert "cancels by its own rules" in effect.told[0]
    assert door.face().balance(account_number=number).available == 90


def test_a_transfer_is_refused_in_words_until_the_cutover_is_over(number: str, supporter: User) -> None:
    browser = signed_in(supporter)
    where = reverse("admin:support_move", args=[number, "transfer"])
    token = browser.get(where).context["form"]["token"].value()
    values = {"to_account_number": "m-2", "points": 5, "reason": "GIFT", "note": "gift", "token": token}

    for step in ("preview", "confirm"):
        answer = browser.post(where, {**values, "step": step})
        assert "It can be done after the cutover." in text_of(answer)  # type: ignore[arg-type]


def test_a_legacy_that_is_away_is_said_to_be_away(number: str, supporter: User) -> None:
    browser = signed_in(supporter)
    with connecting_to("postgres://nobody:nothing@127.0.0.1:1/nowhere"):
        page = shown(browser, "support_account", number)
        head = account_page.head(account_number=number)

    assert head.balance.answer is None
    assert page.count("The side that decides does not answer.") == 3


class TestAfterTheSwitch:
    @pytest.fixture(params=["NEW_FIRST", "NEW_ONLY"])
    def by_ledger(self, by_legacy: Any, request: pytest.FixtureRequest) -> None:
        set_stage(request.param)

    def test_a_preview_is_rehearsed_by_the_ledger_and_writes_nothing(
        self, number: str, supporter: User, by_ledger: None
    ) -> None:
        granted(number, supporter, 100)
        before = (Operation.objects.count(), Entry.objects.count())

        effect = preview(move=deduct_of(number, 30), actor="kim")

        assert effect.rehearsed is not None
        assert [lot.points for lot in effect.rehearsed.entries[0].lots] == [-30]
        assert (Operation.objects.count(), Entry.objects.count()) == before
        assert "As the ledger says" in shown(signed_in(supporter), "support_account", number)

    def test_what_the_legacy_could_not_follow_is_refused_in_the_preview_too(
        self, number: str, supporter: User, by_ledger: None
    ) -> None:
        earned = granted(number, supporter, 100)
        confirm(move=deduct_of(number, 30), person=supporter)

        effect = preview(move=cancel_of(number, earned.id, 100), actor="kim")

        assert effect.refusal is not None
        assert effect.refusal.code == "earn_already_spent"


def test_what_was_asked_in_one_stage_is_done_in_the_stage_then_in_force(
    number: str, supporter: User, settings: Any
) -> None:
    settings.POINTS_APPROVAL_LIMIT = 50
    asked = confirm(move=grant_of(number, 100), person=supporter).request
    assert asked is not None
    set_stage("NEW_ONLY")

    done = requests.approve(request_id=asked.id, person=make_person("approver"))

    operation = Operation.objects.get(id=done.operation_id)
    assert (operation.decided_elsewhere, operation.idempotency_key) == (False, str(asked.confirmation_id))
    assert Entry.objects.get(operation=operation).points == 100


def test_blocking_needs_no_form_in_the_legacy(number: str, by_legacy: Any) -> None:
    lead = make_person("support lead")
    confirm(
        move=Move(kind=MoveKind.BLOCK, key=uuid4(), account_number=number, note="a complaint"), person=lead
    )

    effect = confirm_refused(lambda: granted(number, lead, 10))

    assert effect == "account_blocked"


def confirm_refused(action: Callable[[], Any]) -> str:
    from ledger.errors import Refusal

    try:
        action()
    except Refusal as refusal:
        return refusal.code
    return "nothing was refused"
