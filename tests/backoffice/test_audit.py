"""The audit trail: written with the change, and never changed."""

import os
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory

from ledger.database import violated_constraint
from pointsystem.backoffice import audit
from pointsystem.backoffice.models import AuditEntry


@pytest.fixture
def person(db: None) -> User:
    return User.objects.create_user("kim", password="a long passphrase 1")


def test_an_entry_says_who_did_what_to_whom_when_why_and_from_where(person: User) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="203.0.113.9")
    request.user = person
    request.request_id = "request-1"  # type: ignore[attr-defined]

    made = audit.record(
        action="account.blocked",
        subject_kind="account",
        subject_id="M-1",
        reason="stolen card",
        before={"status": "open"},
        after={"status": "blocked"},
        request=request,
    )

    row = AuditEntry.objects.values().get(id=made.id)
    assert row.pop("at") == made.at
    assert row == {
        "id": made.id,
        "person_id": person.id,
        "username": "kim",
        "action": "account.blocked",
        "subject_kind": "account",
        "subject_id": "M-1",
        "reason": "stolen card",
        "before": {"status": "open"},
        "after": {"status": "blocked"},
        "request_id": "request-1",
        "ip": "203.0.113.9",
    }


def test_nobody_who_is_known_is_nobody(db: None) -> None:
    made = audit.record(action="a.b", subject_kind="user", subject_id="x", person=AnonymousUser())

    assert (made.person_id, made.username, made.ip) == (None, "", None)


def test_characters_that_the_database_does_not_keep_are_left_out(db: None) -> None:
    made = audit.record(
        action="a.b",
        subject_kind="user",
        subject_id="x\x00y",
        reason="\x00why",
        after={"note": ["a\x00b", r"\u0000"]},
    )

    made.refresh_from_db()
    assert (made.subject_id, made.reason, made.after) == ("xy", "why", {"note": ["ab", r"\u0000"]})


def test_an_entry_goes_with_the_change_when_that_is_rolled_back(person: User) -> None:
    def fails_after_recording() -> None:
        with transaction.atomic():
            audit.record(action="account.blocked", subject_kind="account", subject_id="M-2", person=person)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_after_recording()

    assert not AuditEntry.objects.filter(subject_id="M-2").exists()


def test_an_entry_outside_a_transaction_is_refused(committed_db: None) -> None:
    with pytest.raises(audit.AuditOutsideTransaction):
        audit.record(action="account.blocked", subject_kind="account", subject_id="M-3")

    assert not AuditEntry.objects.filter(subject_id="M-3").exists()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"action": "blocked"}, "audit_action_is_subject_and_verb"),
        ({"action": "Account.Blocked"}, "audit_action_is_subject_and_verb"),
        ({"subject_kind": "the account"}, "audit_subject_kind_is_a_word"),
    ],
)
def test_actions_and_subjects_have_one_form(db: None, values: dict[str, str], name: str) -> None:
    sound = {"action": "account.blocked", "subject_kind": "account", "subject_id": "M-4"}

    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        audit.record(**(sound | values))  # type: ignore[arg-type]

    assert violated_constraint(refused.value) == name
    assert not AuditEntry.objects.filter(subject_id="M-4").exists()


@pytest.mark.parametrize("statement", ["UPDATE {} SET action = 'a.b'", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_owner_of_the_table_changes_an_entry(django_db_setup: None, statement: str) -> None:
    with (
        psycopg.connect(os.environ["MIGRATE_DATABASE_URL"]) as owner,
        pytest.raises(psycopg.Error) as refused,
    ):
        owner.execute(statement.format("backoffice_audit_entry"))

    assert refused.value.diag.constraint_name == "audit_entry_is_insert_only"


def test_the_application_may_only_read_and_insert(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r FROM unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE']) r"
            " WHERE has_table_privilege(current_user, 'public.backoffice_audit_entry', r)"
        )
        assert {right for (right,) in cursor.fetchall()} == {"SELECT", "INSERT"}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ({"b": 2}, {"b": 3})),
        (None, {"a": 1}, (None, {"a": 1})),
        ({"a": 1}, None, ({"a": 1}, None)),
        ({"a": 1}, {"a": 1}, ({}, {})),
        ({"a": 1}, {"b": 1}, ({"a": 1}, {"b": 1})),
    ],
)
def test_only_what_differs_is_kept(before: Any, after: Any, changed: Any) -> None:
    assert audit.differences(before, after) == changed
