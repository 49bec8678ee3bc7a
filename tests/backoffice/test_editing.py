"""Clients, keys, reasons and people, kept in the admin: what changes, and what the trail says of it."""

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import clients
from ledger.models import ApiKey, Client, Reason
from pointsystem.backoffice import audit
from pointsystem.backoffice.models import AuditEntry

pytestmark = pytest.mark.django_db
KEY = re.compile(r"ps_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")
ADD_CLIENT = "/admin/ledger/client/add/"


@pytest.fixture
def operator(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person("operator", username="park"))


@pytest.fixture
def root(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person(username="root", is_superuser=True))


def once(browser: Browser, address: str) -> str:
    """The token of a form that was just shown."""
    found = re.search(r'name="once" value="([^"]+)"', browser.get(address).content.decode())
    assert found is not None
    return found[1]


def makes_client(browser: Browser, **values: Any) -> Any:
    form = {"name": "shop", "scopes": ["points:read"], "audit_reason": "the shop moves", **values}
    return browser.post(ADD_CLIENT, {"once": once(browser, ADD_CLIENT), **form})


def trail(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


# --- Clients and keys -------------------------------------------------------------------------------------


def test_a_client_is_made_and_its_key_is_shown_once(operator: Browser) -> None:
    answer = makes_client(operator, requests_per_minute="60")

    page = answer.content.decode()
    (key,) = set(KEY.findall(page))
    principal = clients.authenticate(key=key)
    assert principal is not None
    assert (principal.name, principal.scopes, principal.requests_per_minute) == ("shop", {"points:read"}, 60)
    assert "no-store" in answer.headers["Cache-Control"]
    client = Client.objects.get(name="shop")
    for address in (
        reverse("admin:ledger_client_change", args=[client.id]),
        reverse("admin:ledger_client_changelist"),
    ):
        assert not KEY.search(operator.get(address).content.decode()), "never again"


def test_the_trail_says_who_made_it_and_holds_no_key(operator: Browser) -> None:
    key = KEY.findall(makes_client(operator).content.decode())[0]

    entry = trail("client.created")
    assert (entry.username, entry.subject_id, entry.reason) == ("park", "shop", "the shop moves")
    assert entry.before is None
    assert entry.after is not None
    assert [made["prefix"] for made in entry.after["keys"]] == [key.split("_")[1]]
    kept = str(AuditEntry.objects.values())
    assert key not in kept
    assert key.split("_", 2)[2] not in kept


def test_sending_the_form_twice_makes_one_key(operator: Browser) -> None:
    form = {
        "once": once(operator, ADD_CLIENT),
        "name": "shop",
        "scopes": ["points:read"],
        "audit_reason": "x",
    }
    operator.post(ADD_CLIENT, form)

    answer = operator.post(ADD_CLIENT, {**form, "name": "other"}, follow=True)

    assert "no second key was made" in answer.content.decode()
    assert not Client.objects.filter(name="other").exists()
    assert ApiKey.objects.filter(client__name="shop").count() == 1


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "shop\n"}, "name"),
        ({"name": "shop\x00"}, "name"),
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["points:all"]}, "scopes"),
        ({"requests_per_minute": "0"}, "requests_per_minute"),
        ({"requests_per_minute": "99999999999"}, "requests_per_minute"),
        ({"audit_reason": ""}, "audit_reason"),
        ({"name": "back-office"}, None),
    ],
)
def test_a_bad_form_makes_nothing_and_says_what_is_wrong(
    operator: Browser, values: dict[str, Any], field: str | None
) -> None:
    before = ApiKey.objects.count()

    answer = makes_client(operator, **values)

    assert answer.status_code == 200
    assert ("errorlist" if field else "errornote") in answer.content.decode()
    assert ApiKey.objects.count() == before
    assert not AuditEntry.objects.filter(action="client.created").exists()


def test_a_name_that_is_taken_ends_no_key_of_its_client(operator: Browser) -> None:
    key = clients.create_client(name="shop", scopes=["points:earn"]).key

    answer = makes_client(operator)

    assert "There is a client of this name already" in answer.content.decode()
    assert ApiKey.objects.get(client__name="shop").expires_at is None
    assert clients.authenticate(key=key) is not None
    assert makes_client(operator, name="shop-2").status_code == 200, "and the form can be sent again"


def test_a_rotated_key_overlaps_with_the_one_before(operator: Browser) -> None:
    old = clients.create_client(name="shop", scopes=["points:earn"]).key
    address = reverse("admin:ledger_client_next_key", args=[Client.objects.get(name="shop").id])

    answer = operator.post(
        address,
        {
            "once": once(operator, address),
            "scopes": ["points:read"],
            "overlap_hours": "2",
            "audit_reason": "yearly",
        },
    )

    (new,) = set(KEY.findall(answer.content.decode()))
    assert clients.authenticate(key=old) is not None
    made = clients.authenticate(key=new)
    assert made is not None
    assert made.scopes == {"points:read"}
    ends = ApiKey.objects.get(prefix=old.split("_")[1]).expires_at
    assert ends is not None
    assert abs(ends - timezone.now() - timedelta(hours=2)) < timedelta(minutes=1)
    entry = trail("client.key_rotated")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.reason, len(entry.before["keys"]), len(entry.after["keys"])) == ("yearly", 1, 2)


def test_revoking_ends_all_keys_at_once(operator: Browser) -> None:
    key = clients.create_client(name="shop", scopes=["points:earn"]).key
    address = reverse("admin:ledger_client_revoke", args=[Client.objects.get(name="shop").id])
    assert operator.get(address).status_code == 200
    assert clients.authenticate(key=key) is not None, "asking changes nothing"

    operator.post(address, {"audit_reason": "key in a chat"})

    assert clients.authenticate(key=key) is None
    entry = trail("client.revoked")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.username, entry.reason) == ("park", "key in a chat")
    assert entry.before["keys"][0]["revoked_at"] is None
    assert entry.after["keys"][0]["revoked_at"] is not None


def test_built_in_clients_have_no_keys_and_are_not_edited(operator: Browser) -> None:
    client = Client.objects.get(name="back-office")

    for page in ("next_key", "revoke"):
        assert operator.post(reverse(f"admin:ledger_client_{page}", args=[client.id])).status_code == 403
    answer = operator.post(
        reverse("admin:ledger_client_change", args=[client.id]), {"requests_per_minute": "1"}
    )
    assert answer.status_code == 403
    assert not client.api_keys.exists()


def test_a_limit_that_is_changed_is_in_the_trail(operator: Browser) -> None:
    clients.create_client(name="shop", scopes=["points:earn"])
    client = Client.objects.get(name="shop")
    form = {
        "requests_per_minute": "30",
        "audit_reason": "too loud",
        **{f"api_keys-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")},
        **{f"activities-{name}_FORMS": "0" for name in ("TOTAL", "INITIAL")},
    }

    answer = operator.post(reverse("admin:ledger_client_change", args=[client.id]), form)

    assert answer.status_code == 302
    entry = trail("client.changed")
    assert (entry.before, entry.after) == ({"requests_per_minute": None}, {"requests_per_minute": 30})
    assert entry.reason == "too loud"


# --- Reasons and policies ---------------------------------------------------------------------------------


def policy(number: int, **values: Any) -> dict[str, Any]:
    row = {"validity_days": "30", "expiry_rounding": "none", "restore": "grace", "grace_days": "3"}
    return {
        f"policies-{number}-{name}": value for name, value in ({**row, "clawback": "debt"} | values).items()
    }


def test_a_new_reason_comes_with_its_first_policy_also_when_nothing_of_it_is_changed(
    operator: Browser,
) -> None:
    form = {
        "code": "BIRTHDAY",
        "label": "Birthday",
        "kinds": ["earn"],
        "is_active": "on",
        "policies-TOTAL_FORMS": "1",
        "policies-INITIAL_FORMS": "0",
        **policy(
            0,
            validity_days="",
            expiry_rounding="end_of_day",
            restore="original",
            grace_days="7",
            clawback="within_balance",
        ),
    }

    answer = operator.post(reverse("admin:ledger_reason_add"), form)

    assert answer.status_code == 302
    made = Reason.objects.get(code="BIRTHDAY").policies.get()
    assert (made.version, made.validity_days, made.clawback) == (1, None, "within_balance")
    entry = trail("reason.created")
    assert entry.after is not None
    assert entry.subject_id == "BIRTHDAY"
    assert entry.after["policies"][0]["version"] == 1


def test_a_policy_is_changed_by_its_next_version_and_the_trail_keeps_both(operator: Browser) -> None:
    reason = Reason.objects.get(code="REVIEW")
    first = reason.policies.get()
    form = {
        "label": reason.label,
        "kinds": reason.kinds,
        "is_active": "on",
        "audit_reason": "shorter",
        "policies-TOTAL_FORMS": "2",
        "policies-INITIAL_FORMS": "1",
        "policies-0-id": str(first.id),
        "policies-0-reason": str(reason.id),
        **policy(0, validity_days="1"),
        **policy(1),
    }

    assert operator.post(reverse("admin:ledger_reason_change", args=[reason.id]), form).status_code == 302

    versions = list(reason.policies.order_by("version").values_list("version", "validity_days"))
    assert versions == [(1, 365), (2, 30)], "the old one stays as it was"
    entry = trail("reason.changed")
    assert entry.before is not None
    assert entry.after is not None
    assert entry.reason == "shorter"
    assert [len(entry.before["policies"]), len(entry.after["policies"])] == [1, 2]


def test_a_reason_without_kinds_or_with_a_bad_policy_is_refused(operator: Browser) -> None:
    form = {
        "code": "BIRTHDAY",
        "label": "Birthday",
        "policies-TOTAL_FORMS": "1",
        "policies-INITIAL_FORMS": "0",
        **policy(0, validity_days="4000"),
    }

    answer = operator.post(reverse("admin:ledger_reason_add"), form)

    assert answer.status_code == 200
    assert answer.content.decode().count("errorlist") >= 2
    assert not Reason.objects.filter(code="BIRTHDAY").exists()


# --- People -----------------------------------------------------------------------------------------------


def test_roles_given_and_taken_are_in_the_trail(root: Browser, person: Callable[..., User]) -> None:
    kim = person("support", username="kim")
    form = {
        "username": "kim",
        "is_active": "on",
        "is_staff": "on",
        "groups": [Group.objects.get(name="finance").id],
        "audit_reason": "changed teams",
    }

    answer = root.post(reverse("admin:auth_user_change", args=[kim.id]), form)

    assert answer.status_code == 302, answer.content
    entry = trail("user.changed")
    assert (entry.username, entry.subject_id, entry.reason) == ("root", "kim", "changed teams")
    assert (entry.before, entry.after) == ({"groups": ["support"]}, {"groups": ["finance"]})


def test_a_person_who_is_made_inactive_is_out_at_once(
    root: Browser, person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    kim = person("support", username="kim")
    browser = sign_in(kim)
    assert browser.get("/admin/").status_code == 200

    root.post(reverse("admin:auth_user_change", args=[kim.id]), {"username": "kim", "is_staff": "on"})

    assert browser.get("/admin/").status_code == 302
    assert trail("user.changed").after == {"is_active": False, "groups": []}


def test_a_password_that_is_set_is_in_the_trail_and_its_hash_is_not(
    root: Browser, person: Callable[..., User]
) -> None:
    kim = person(username="kim")
    words = "quite another passphrase 2"

    answer = root.post(
        reverse("admin:auth_user_password_change", args=[kim.id]),
        {"password1": words, "password2": words, "usable_password": "true"},
    )

    assert answer.status_code == 302
    entry = trail("user.password_set")
    assert (entry.subject_id, entry.before, entry.after) == ("kim", None, None)
    kim.refresh_from_db()
    assert kim.check_password(words)


def test_a_built_in_role_is_not_edited_and_a_group_of_ones_own_is(root: Browser) -> None:
    built_in = Group.objects.get(name="auditor")

    refused = root.post(reverse("admin:auth_group_change", args=[built_in.id]), {"name": "spy"})
    made = root.post(reverse("admin:auth_group_add"), {"name": "night shift"})
    gone = root.post(
        reverse("admin:auth_group_delete", args=[Group.objects.get(name="night shift").id]), {"post": "yes"}
    )

    assert (refused.status_code, made.status_code, gone.status_code) == (403, 302, 302)
    assert Group.objects.filter(name="auditor").exists()
    assert [trail("group.created").subject_id, trail("group.deleted").subject_id] == ["night shift"] * 2


# --- The trail itself -------------------------------------------------------------------------------------


@pytest.fixture
def auditor(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person("auditor"))


@pytest.fixture
def written(person: Callable[..., User]) -> dict[str, User]:
    people = {name: person("support", username=name) for name in ("kim", "lee")}
    for name, action, subject in (
        ("kim", "account.blocked", "M-1"),
        ("lee", "account.blocked", "M-2"),
        ("lee", "points.granted", "M-1"),
    ):
        audit.record(action=action, subject_kind="account", subject_id=subject, person=people[name])
    return people


def listed(browser: Browser, **query: Any) -> list[tuple[str, str, str]]:
    """Who, what and to whom, as the export gives it for these filters."""
    answer = browser.get(reverse("admin:backoffice_auditentry_export"), query)
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    rows = csv.DictReader(io.StringIO(text))
    return [
        (row["username"], row["action"], row["subject_id"])
        for row in rows
        if row["subject_kind"] == "account"
    ]


def test_the_trail_is_found_by_person_action_and_subject(auditor: Browser, written: dict[str, User]) -> None:
    kims = [("kim", "account.blocked", "M-1")]
    lees = [("lee", "account.blocked", "M-2"), ("lee", "points.granted", "M-1")]

    assert listed(auditor) == kims + lees
    assert listed(auditor, person=written["lee"].id) == lees
    assert listed(auditor, action="points.granted") == lees[1:]
    assert listed(auditor, q="M-1") == kims + lees[1:]
    assert listed(auditor, subject_kind="account", days="1") == kims + lees
    assert listed(auditor, subject_kind="client") == []


def test_the_page_shows_what_the_export_gives(auditor: Browser, written: dict[str, User]) -> None:
    address = reverse("admin:backoffice_auditentry_changelist")

    page = auditor.get(address, {"action": "points.granted"}).content.decode()

    assert "account M-1" in page
    assert "account M-2" not in page
    assert "export/?action=points.granted" in page


@pytest.mark.parametrize(
    "query", [{"person": "x"}, {"days": "-1"}, {"action": "'"}, {"p": "x"}, {"zzz": "1"}]
)
def test_odd_filters_give_no_error(auditor: Browser, query: dict[str, str]) -> None:
    assert auditor.get(reverse("admin:backoffice_auditentry_changelist"), query).status_code in (200, 302)
    answer = auditor.get(reverse("admin:backoffice_auditentry_export"), query)
    assert answer.status_code in (200, 302, 400)


def test_a_text_like_a_formula_is_a_text_in_the_export(auditor: Browser) -> None:
    audit.record(action="account.blocked", subject_kind="account", subject_id="=1+1", reason="@SUM(A1)")

    answer = auditor.get(reverse("admin:backoffice_auditentry_export"))

    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    (row,) = [row for row in csv.DictReader(io.StringIO(text)) if row["action"] == "account.blocked"]
    assert (row["subject_id"], row["reason"]) == ("'=1+1", "'@SUM(A1)")


def test_an_entry_opens_with_what_was_before_and_after(auditor: Browser) -> None:
    made = audit.record(
        action="account.blocked",
        subject_kind="account",
        subject_id="M-1",
        before={"status": "<open>"},
        after={"status": "blocked"},
    )

    page = auditor.get(reverse("admin:backoffice_auditentry_change", args=[made.id])).content.decode()

    assert "&lt;open&gt;" in page
    assert "<open>" not in page
    assert "blocked" in page
