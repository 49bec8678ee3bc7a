import hashlib
import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from ledger.clients import ClientRefused, authenticate, create_client, revoke_client
from ledger.models import BACK_OFFICE_CLIENT, SYSTEM_CLIENT, ApiKey, Client

pytestmark = pytest.mark.django_db


def test_a_key_is_shown_once_and_kept_as_a_digest() -> None:
    made = create_client(name="voucher", scopes=["points:spend", "points:read"])

    assert re.fullmatch(r"ps_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", made.key)
    assert (made.name, made.scopes, made.overlapping_keys) == ("voucher", ("points:read", "points:spend"), 0)
    row = ApiKey.objects.get(client__name="voucher")
    assert bytes(row.digest) == hashlib.sha256(made.key.encode()).digest()
    assert row.prefix == made.key.split("_")[1]


def test_no_piece_of_the_secret_is_in_any_table() -> None:
    made = create_client(name="voucher", scopes=["points:read"])
    secret = made.key.split("_", 2)[2]
    pieces = [secret[start : start + 12] for start in range(len(secret) - 11)]

    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE ANY (%s)',
                [[f"%{piece.replace('_', chr(92) + '_')}%" for piece in pieces]],
            )
            assert cursor.fetchone() == (0,), table


def test_a_key_tells_who_asks_and_what_is_allowed() -> None:
    made = create_client(name="voucher", scopes=["points:earn"], requests_per_minute=60)

    principal = authenticate(key=made.key)

    assert principal is not None
    assert (principal.name, principal.scopes, principal.requests_per_minute) == (
        "voucher",
        frozenset({"points:earn"}),
        60,
    )
    assert principal.client_id == Client.objects.get(name="voucher").id


def test_every_key_is_another() -> None:
    keys = [create_client(name=f"client-{number}", scopes=["points:read"]).key for number in range(20)]

    assert len({key.split("_")[1] for key in keys}) == 20
    assert len({key.split("_", 2)[2] for key in keys}) == 20


def test_rotation_lets_the_old_key_work_for_the_overlap() -> None:
    old = create_client(name="voucher", scopes=["points:earn"])

    new = create_client(name="voucher", scopes=["points:read"], overlap=timedelta(hours=1))

    assert new.overlapping_keys == 1
    assert _scopes(old.key) == {"points:earn"}
    assert _scopes(new.key) == {"points:read"}
    _pass_by(timedelta(hours=1, seconds=1))
    assert _scopes(old.key) is None
    assert _scopes(new.key) == {"points:read"}


def test_rotation_without_overlap_ends_the_old_key_at_once() -> None:
    old = create_client(name="voucher", scopes=["points:earn"])

    new = create_client(name="voucher", scopes=["points:earn"], overlap=timedelta(0))

    assert (_scopes(old.key), _scopes(new.key)) == (None, {"points:earn"})


def test_a_later_rotation_never_lengthens_the_life_of_a_key() -> None:
    first = create_client(name="voucher", scopes=["points:earn"])
    create_client(name="voucher", scopes=["points:earn"], overlap=timedelta(hours=1))

    create_client(name="voucher", scopes=["points:earn"], overlap=timedelta(hours=48))
    _pass_by(timedelta(hours=2))

    assert _scopes(first.key) is None


def test_rotation_keeps_the_limit_unless_a_new_one_is_given() -> None:
    create_client(name="voucher", scopes=["points:earn"], requests_per_minute=60)

    kept = create_client(name="voucher", scopes=["points:earn"])
    assert _limit(kept.key) == 60
    changed = create_client(name="voucher", scopes=["points:earn"], requests_per_minute=10)
    assert _limit(changed.key) == 10


def test_revoking_ends_all_keys_and_a_new_key_brings_the_client_back() -> None:
    keys = [create_client(name="voucher", scopes=["points:read"]).key for _ in range(3)]

    assert revoke_client(name="voucher") == 3
    assert [_scopes(key) for key in keys] == [None, None, None]
    assert revoke_client(name="voucher") == 0

    again = create_client(name="voucher", scopes=["points:read"])
    assert (_scopes(again.key), again.overlapping_keys) == ({"points:read"}, 0)
    assert [_scopes(key) for key in keys] == [None, None, None]


@pytest.mark.parametrize("name", [SYSTEM_CLIENT, BACK_OFFICE_CLIENT])
def test_a_built_in_client_has_no_keys(name: str) -> None:
    with pytest.raises(ClientRefused, match="built-in"):
        create_client(name=name, scopes=["points:read"])
    with pytest.raises(ClientRefused, match="built-in"):
        revoke_client(name=name)

    assert ApiKey.objects.filter(client__name=name).count() == 0


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("", ["points:read"]),
        ("a b", ["points:read"]),
        ("a\n", ["points:read"]),
        ("x" * 65, ["points:read"]),
        ("voucher", []),
        ("voucher", ["points:read", "points:all"]),
    ],
)
def test_what_is_no_name_or_scope_is_refused(name: str, scopes: list[str]) -> None:
    before = Client.objects.count()

    with pytest.raises(ClientRefused):
        create_client(name=name, scopes=scopes)

    assert (Client.objects.count(), ApiKey.objects.count()) == (before, 0)


def test_an_unknown_client_cannot_be_revoked() -> None:
    with pytest.raises(ClientRefused, match="no client"):
        revoke_client(name="nobody")


@pytest.mark.parametrize("key", ["", "ps_", "ps_0123456789ab_" + "a" * 43, "\x00", "é" * 60, "x" * 10_000])
def test_what_is_no_key_belongs_to_nobody(key: str) -> None:
    assert authenticate(key=key) is None


def test_the_database_itself_refuses_an_unknown_scope() -> None:
    made = create_client(name="voucher", scopes=["points:read"])

    with pytest.raises(IntegrityError, match="api_key_scopes_are_known"), transaction.atomic():
        ApiKey.objects.filter(client__name=made.name).update(scopes=["points:everything"])


# --- The commands ---------------------------------------------------------------------------------------
def test_the_command_prints_the_key_as_json() -> None:
    out = StringIO()

    call_command(
        "create_client", "voucher", "--scope", "points:read", "--scope", "points:earn", "--json", stdout=out
    )

    printed = json.loads(out.getvalue())
    assert printed == {"name": "voucher", "key": printed["key"], "scopes": ["points:read", "points:earn"]}
    assert _scopes(printed["key"]) == {"points:read", "points:earn"}


def test_the_command_rotates_with_overlap_and_says_so() -> None:
    old = create_client(name="voucher", scopes=["points:read"])
    out = StringIO()

    call_command("create_client", "voucher", "--scope", "points:read", "--overlap", "2", stdout=out)

    assert "1 older key(s) work for 2 more hours." in out.getvalue()
    assert _scopes(old.key) == {"points:read"}
    _pass_by(timedelta(hours=2, seconds=1))
    assert _scopes(old.key) is None


def test_the_command_revokes() -> None:
    made = create_client(name="voucher", scopes=["points:read"])
    out = StringIO()

    call_command("revoke_client", "voucher", stdout=out)

    assert out.getvalue() == "1 key(s) of voucher were revoked.\n"
    assert _scopes(made.key) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_client", "system", "--scope", "points:read"],
        ["create_client", "a b", "--scope", "points:read"],
        ["create_client", "voucher", "--scope", "points:read", "--overlap", "-1"],
        ["create_client", "voucher", "--scope", "points:read", "--requests-per-minute", "0"],
        ["revoke_client", "nobody"],
        ["revoke_client", "system"],
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command(*arguments, stdout=StringIO())

    assert refused.value.returncode == 2
    assert ApiKey.objects.count() == 0


def _scopes(key: str) -> set[str] | None:
    principal = authenticate(key=key)
    return set(principal.scopes) if principal else None


def _limit(key: str) -> int | None:
    principal = authenticate(key=key)
    assert principal is not None
    return principal.requests_per_minute


def _pass_by(time: timedelta) -> None:
    """Let `time` pass for the keys: real time cannot be moved, so their ends are."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_api_key SET expires_at = expires_at - %s", [time])
