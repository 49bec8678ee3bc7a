"""Grants from a file: each row once, whatever is killed or repeated."""

import csv
import io
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest
from celery import current_app
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from ledger import operations, queries
from ledger.models import AccountStatus, Operation
from pointsystem.backoffice.models import AuditEntry
from pointsystem.backoffice.support import granting, mass_grants, requests
from pointsystem.backoffice.support.models import MassGrant, MassGrantRow, MassGrantState, RowState
from pointsystem.backoffice.support.tasks import run_mass_grant
from pointsystem.embedded.processes import Child
from pointsystem.embedded.stack import ROOT
from tests.backoffice.support.people import make_person, signed_in, text_of
from tests.ledger.balances.conftest import wait_until
from tests.ledger.concurrency.together import together
from tests.ledger.member import Member


def csv_of(mark: str, count: int, *, points: int = 10) -> bytes:
    lines = ["account_number,points,reason,reference"]
    lines += [f"{mark}-{number},{points},EVENT,{mark}" for number in range(count)]
    return "\n".join(lines).encode()


def new_mark() -> str:
    return f"m{uuid4().hex[:10]}"


def uploaded(person: User, content: bytes) -> MassGrant:
    return mass_grants.upload(file_name="summer.csv", content=content, person=person)


def confirmed(person: User, content: bytes) -> MassGrant:
    found = uploaded(person, content)
    return mass_grants.confirm(mass_grant_id=found.id, note="summer event", person=person).mass_grant


def states(mass_grant: MassGrant) -> dict[str, int]:
    return {state: count for state, count in granting.counts(mass_grant_id=mass_grant.id).items() if count}


def earned(mark: str) -> tuple[int, int]:
    """How many grants there are under a mark, and their points."""
    points = Operation.objects.filter(reference=mark, state="completed").values_list("points", flat=True)
    return len(points), sum(points)


def test_a_confirmed_file_grants_every_row(lead: User) -> None:
    mark = new_mark()
    found = confirmed(lead, csv_of(mark, 120))

    assert granting.run(mass_grant_id=found.id) is False

    found.refresh_from_db()
    assert (found.state, states(found)) == (MassGrantState.DONE, {"granted": 120})
    assert earned(mark) == (120, 1200)
    actions = AuditEntry.objects.filter(subject_kind="mass_grant", subject_id=str(found.id)).order_by("id")
    assert list(actions.values_list("action", flat=True)) == [
        "mass_grant.uploaded",
        "mass_grant.confirmed",
        "mass_grant.finished",
    ]


def test_nothing_is_granted_before_the_confirmation(lead: User) -> None:
    mark = new_mark()
    found = uploaded(lead, csv_of(mark, 3))

    assert granting.run(mass_grant_id=found.id) is False
    assert earned(mark) == (0, 0)


def test_the_same_file_twice_grants_once(lead: User) -> None:
    mark = new_mark()
    first = confirmed(lead, csv_of(mark, 5))
    granting.run(mass_grant_id=first.id)

    second = uploaded(lead, csv_of(mark, 5))
    before = mass_grants.confirmed_before(mass_grant=second)
    mass_grants.confirm(mass_grant_id=second.id, note="again", person=lead)
    granting.run(mass_grant_id=second.id)

    assert before is not None
    assert before.id == first.id
    assert states(second) == {"repeated": 5}
    assert earned(mark) == (5, 50)


def test_confirming_twice_confirms_once(lead: User) -> None:
    found = confirmed(lead, csv_of(new_mark(), 1))

    again = mass_grants.confirm(mass_grant_id=found.id, note="summer event", person=lead)

    assert again.mass_grant.confirmed_at == found.confirmed_at
    assert AuditEntry.objects.filter(action="mass_grant.confirmed", subject_id=str(found.id)).count() == 1


def test_only_who_uploaded_confirms_and_drops(lead: User) -> None:
    found = uploaded(lead, csv_of(new_mark(), 1))
    other = make_person("support lead")

    with pytest.raises(mass_grants.NotYours):
        mass_grants.confirm(mass_grant_id=found.id, note="mine", person=other)
    with pytest.raises(mass_grants.NotYours):
        mass_grants.drop(mass_grant_id=found.id, person=other)
    assert mass_grants.drop(mass_grant_id=found.id, person=lead) is True
    found.refresh_from_db()
    assert found.state == MassGrantState.DROPPED


def test_a_row_that_is_refused_says_why_and_stops_no_other(lead: User) -> None:
    mark = new_mark()
    blocked = Member()
    blocked.number = f"{mark}-1"
    blocked.earns(1)
    operations.change_account_status(
        account_number=blocked.number, status=AccountStatus.BLOCKED, note="x", actor="kim"
    )
    found = confirmed(lead, csv_of(mark, 3))

    granting.run(mass_grant_id=found.id)

    assert states(found) == {"granted": 2, "refused": 1}
    refused = MassGrantRow.objects.get(mass_grant=found, state=RowState.REFUSED)
    assert (refused.account_number, refused.code) == (blocked.number, "account_blocked")
    assert earned(mark) == (2, 20)


def test_a_row_has_the_expiry_that_the_file_says(lead: User) -> None:
    mark = new_mark()
    heading = "account_number,points,reason,expires_at\n"
    found = confirmed(lead, f"{heading}{mark}-a,1,EVENT,never\n{mark}-b,1,EVENT,\n".encode())

    granting.run(mass_grant_id=found.id)

    (never,) = queries.lots_page(account_number=f"{mark}-a").data
    (by_policy,) = queries.lots_page(account_number=f"{mark}-b").data
    assert never.expires_at is None
    assert by_policy.expires_at is not None


def test_above_the_limit_a_second_person_lets_it_run(lead: User, settings: Any) -> None:
    settings.POINTS_APPROVAL_LIMIT = 49
    mark = new_mark()
    found = uploaded(lead, csv_of(mark, 5))
    started = mass_grants.confirm(mass_grant_id=found.id, note="summer event", person=lead)
    assert started.request is not None
    assert (started.mass_grant.state, granting.run(mass_grant_id=found.id)) == ("waiting", False)

    requests.approve(request_id=started.request.id, person=make_person("approver"))
    granting.run(mass_grant_id=found.id)

    assert earned(mark) == (5, 50)


def test_a_rejected_file_is_dropped(lead: User, settings: Any) -> None:
    settings.POINTS_APPROVAL_LIMIT = 1
    found = uploaded(lead, csv_of(new_mark(), 1))
    asked = mass_grants.confirm(mass_grant_id=found.id, note="summer event", person=lead).request
    assert asked is not None

    requests.reject(request_id=asked.id, person=make_person("approver"), note="not agreed")

    found.refresh_from_db()
    assert found.state == MassGrantState.DROPPED


def test_a_file_whose_request_was_withdrawn_is_dropped(lead: User, settings: Any) -> None:
    settings.POINTS_APPROVAL_LIMIT = 1
    found = uploaded(lead, csv_of(new_mark(), 1))
    asked = mass_grants.confirm(mass_grant_id=found.id, note="summer event", person=lead).request
    assert asked is not None

    requests.withdraw(request_id=asked.id, person=lead)

    found.refresh_from_db()
    assert (found.state, granting.run(mass_grant_id=found.id)) == (MassGrantState.DROPPED, False)


def test_two_workers_on_one_file_grant_once(committed_db: None) -> None:
    lead, mark = make_person("support lead"), new_mark()
    found = confirmed(lead, csv_of(mark, 200))

    together([lambda: granting.run(mass_grant_id=found.id)] * 3)
    wait_until(lambda: not granting.run(mass_grant_id=found.id))

    assert earned(mark) == (200, 2000)
    assert states(found) == {"granted": 200}


def test_an_account_that_is_busy_is_tried_again(committed_db: None) -> None:
    from django.db import transaction

    from ledger.database import fetch_all
    from ledger.locks import account_locks

    lead, mark = make_person("support lead"), new_mark()
    member = Member()
    member.number = f"{mark}-0"
    member.earns(1)
    found = confirmed(lead, csv_of(mark, 1))
    with transaction.atomic():
        fetch_all(*account_locks([member.number]))
        together([lambda: granting.run(mass_grant_id=found.id)])
    row = MassGrantRow.objects.get(mass_grant=found)
    assert (row.state, row.code, row.attempts) == (RowState.WAITING, "account_busy", 1)
    MassGrantRow.objects.filter(id=row.id).update(next_attempt_at=timezone.now() - timedelta(seconds=1))

    granting.run(mass_grant_id=found.id)

    assert states(found) == {"granted": 1}
    assert member.available == 11


@pytest.mark.parametrize("place", ["mass_grant.granted", "mass_grant.kept"])
def test_a_killed_worker_leaves_nothing_undone_and_nothing_done_twice(
    committed_db: None, tmp_path: Path, place: str
) -> None:
    lead, mark = make_person("support lead"), new_mark()
    found = confirmed(lead, csv_of(mark, 120))
    program = (
        "import django; django.setup()\n"
        "from pointsystem.backoffice.support import granting\n"
        f"granting.run(mass_grant_id={found.id})"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
            "POINTS_STACK": "test",
            "POINTS_CRASH_POINT": f"{place}:2",
        },
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -9
    assert earned(mark)[0] == 100
    assert granting.run(mass_grant_id=found.id) is False, "the dead worker's lease still holds"
    assert earned(mark)[0] == 100
    MassGrant.objects.filter(id=found.id).update(worked_until=timezone.now() - timedelta(seconds=1))

    granting.run(mass_grant_id=found.id)

    found.refresh_from_db()
    assert found.state == MassGrantState.DONE
    assert states(found) == {"granted": 120}
    assert earned(mark) == (120, 1200)


def own_broker() -> str:
    """A broker that no other worker of the tests listens to."""
    return urlunsplit(urlsplit(os.environ["CELERY_BROKER_URL"])._replace(path="/41"))


def started_worker(broker: str, directory: Path, *, crash_point: str) -> Child:
    """A real Celery worker of the queue of mass grants, whose pool process dies at a place."""
    ready = directory / f"{uuid4().hex}.ready"
    worker = Child(
        name="worker",
        command=[
            *(sys.executable, "-m", "celery", "-A", "pointsystem", "worker", "-Q", "migrate", "-l", "INFO"),
            *("-n", f"{ready.stem}@tests", "--concurrency", "1"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        log=directory / "worker.log",
        environment={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CELERY_BROKER_URL": broker,
            "POINTS_STACK": "test",
            "POINTS_CRASH_POINT": crash_point,
            "POINTS_READY_FILE": str(ready),
        },
        directory=ROOT,
        is_ready=ready.exists,
        ready_seconds=60,
    )
    worker.start()
    worker.wait_until_ready()
    return worker


def test_a_celery_worker_that_is_killed_again_and_again_grants_every_row_once(
    committed_db: None, tmp_path: Path
) -> None:
    lead, mark, broker = make_person("support lead"), new_mark(), own_broker()
    found = confirmed(lead, csv_of(mark, 260))
    worker = started_worker(broker, tmp_path, crash_point="mass_grant.granted:2")

    def is_done_when_rung_for() -> bool:
        # What the sweeper does when the lease of a dead worker has ended.
        MassGrant.objects.filter(id=found.id).update(worked_until=timezone.now() - timedelta(seconds=1))
        with current_app.connection_for_write(broker) as connection:
            run_mass_grant.apply_async(kwargs={"mass_grant_id": found.id}, connection=connection)
        time.sleep(1)
        return MassGrant.objects.get(id=found.id).state == MassGrantState.DONE

    try:
        wait_until(is_done_when_rung_for)
    finally:
        worker.stop()

    assert "SIGKILL" in (tmp_path / "worker.log").read_text()
    assert earned(mark) == (260, 2600)
    assert states(found) == {"granted": 260}


def test_real_workers_run_a_confirmed_file(committed_db: None, celery_workers: list[Child]) -> None:
    lead, mark = make_person("support lead"), new_mark()
    found = confirmed(lead, csv_of(mark, 150))

    wait_until(lambda: MassGrant.objects.get(id=found.id).state == MassGrantState.DONE)

    assert earned(mark) == (150, 1500)


def test_the_sweeper_finds_what_nobody_was_asked_to_do(
    committed_db: None, celery_workers: list[Child]
) -> None:
    lead, mark = make_person("support lead"), new_mark()
    found = uploaded(lead, csv_of(mark, 20))
    # The message of its start was lost: the row alone says that it runs.
    MassGrant.objects.filter(id=found.id).update(state=MassGrantState.RUNNING, confirmed_at=timezone.now())

    wait_until(lambda: MassGrant.objects.get(id=found.id).state == MassGrantState.DONE)

    assert earned(mark) == (20, 200)


def test_an_accepted_row_says_later_what_came_of_it(committed_db: None) -> None:
    lead, mark = make_person("support lead"), new_mark()
    done = Member().earns(10)
    found = uploaded(lead, csv_of(mark, 1))
    MassGrantRow.objects.filter(mass_grant=found).update(state=RowState.ACCEPTED, operation_id=done.id)

    granting.sweep()

    assert states(found) == {"granted": 1}


def test_the_task_asks_for_nothing_inside_a_transaction(db: None) -> None:
    from ledger.balances import InsideTransaction

    with pytest.raises(InsideTransaction):
        run_mass_grant.delay(mass_grant_id=1)


class TestThePages:
    def test_lead_from_the_file_to_its_results(self, lead: User) -> None:
        browser, mark = signed_in(lead), new_mark()
        where = reverse("admin:support_mass_grants")
        assert browser.get(where).status_code == 200

        preview = browser.post(where, {"file": SimpleUploadedFile("summer.csv", csv_of(mark, 3))})["Location"]
        shown = text_of(browser.get(preview))  # type: ignore[arg-type]
        assert "Grant 30 points" in shown
        assert browser.post(preview, {"decision": "confirm", "note": ""}).status_code == 200
        browser.post(preview, {"decision": "confirm", "note": "summer event"})
        running = browser.get(preview)
        assert running["Refresh"] == "3"
        mass_grant = MassGrant.objects.get(author=lead)
        granting.run(mass_grant_id=mass_grant.id)
        done = browser.get(preview)

        assert "Refresh" not in done
        assert "100%" in text_of(done)  # type: ignore[arg-type]
        answer = browser.get(reverse("admin:support_mass_grant_results", args=[mass_grant.id]))
        results = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))  # type: ignore[attr-defined]
        assert [(row["line"], row["points"], row["result"]) for row in results] == [
            ("2", "10", "granted"),
            ("3", "10", "granted"),
            ("4", "10", "granted"),
        ]
        assert {row["operation"] for row in results} == {
            str(one) for one in Operation.objects.filter(reference=mark).values_list("id", flat=True)
        }

    def test_list_every_error_of_a_bad_file(self, lead: User) -> None:
        content = b"account_number,points,reason\nm-1,zero,EVENT\nm 2,1,NONE\n"

        answer = signed_in(lead).post(
            reverse("admin:support_mass_grants"), {"file": SimpleUploadedFile("bad.csv", content)}
        )

        assert answer.status_code == 422
        for words in ("out_of_range", "bad_format", "unknown_reason", "Nothing of this file was taken"):
            assert words in text_of(answer)  # type: ignore[arg-type]
        assert not MassGrant.objects.filter(author=lead).exists()

    def test_warn_of_a_file_that_was_confirmed_before(self, lead: User) -> None:
        content = csv_of(new_mark(), 1)
        confirmed(lead, content)
        second = uploaded(lead, content)

        shown = text_of(signed_in(lead).get(reverse("admin:support_mass_grant", args=[second.id])))  # type: ignore[arg-type]

        assert "The same rows were confirmed before" in shown

    def test_are_closed_to_who_may_not(self, supporter: User, lead: User) -> None:
        found = uploaded(lead, csv_of(new_mark(), 1))
        browser = signed_in(supporter)

        for name, arguments in (
            ("support_mass_grants", []),
            ("support_mass_grant", [found.id]),
            ("support_mass_grant_results", [found.id]),
        ):
            assert browser.get(reverse(f"admin:{name}", args=arguments)).status_code == 403
