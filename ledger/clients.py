"""Clients of the API and their keys.

A key reads `ps_PREFIX_SECRET`. The prefix is public and finds the row; the secret has 256 random bits. Only
the SHA-256 of the whole key is kept, so a copy of the database opens nothing, and a slow hash would add
nothing. Keys live on real time: the simulated clock of demo and tests neither ends nor revives one.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final

from django.db import transaction

from ledger.database import fetch_all, fetch_one
from ledger.models import LEGACY_CLIENT, SYSTEM_CLIENT, ApiKey, Client, Scope

DEFAULT_OVERLAP: Final = timedelta(hours=24)

_PREFIX_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(r"ps_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}")

_KEY_BY_PREFIX: Final = """
SELECT key.digest, client.id, client.name, key.scopes, client.requests_per_minute
FROM ledger_api_key AS key JOIN ledger_client AS client ON client.id = key.client_id
WHERE key.prefix = %s AND key.revoked_at IS NULL
    AND (key.expires_at IS NULL OR key.expires_at > clock_timestamp())
"""
_EXPIRE_KEYS: Final = """
UPDATE ledger_api_key SET expires_at = clock_timestamp() + %s
WHERE client_id = %s AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp() + %s)
"""
_REVOKE_KEYS: Final = """
UPDATE ledger_api_key SET revoked_at = clock_timestamp()
WHERE client_id = %s AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
RETURNING id
"""


class ClientRefused(Exception):
    """A client that cannot be made, rotated or revoked so; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made. It exists in clear here only, and cannot be shown again."""

    name: str
    key: str
    scopes: tuple[str, ...]
    #: Keys of the client that keep working until the overlap ends.
    overlapping_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, and what that client may do."""

    client_id: int
    name: str
    scopes: frozenset[str]
    requests_per_minute: int | None


@cache
def system_client_id() -> int:
    """The built-in client that operations of jobs belong to. A migration made it."""
    return Client.objects.get(name=SYSTEM_CLIENT).id


@cache
def legacy_client_id() -> int:
    """The built-in client of operations that came out of a legacy: every client may see and cancel them."""
    return Client.objects.get(name=LEGACY_CLIENT).id


def may_see(*, owner_id: int, client_id: int, any_client: bool) -> bool:
    """Whether `client_id` may find and cancel an operation of `owner_id`."""
    return any_client or owner_id == client_id or owner_id == legacy_client_id()


def create_client(
    *,
    name: str,
    scopes: Collection[str],
    overlap: timedelta = DEFAULT_OVERLAP,
    requests_per_minute: int | None = None,
) -> NewKey:
    """Make the client `name` and its key; for an existing name, the next key.

    Older keys of an existing client end after `overlap`, so that its processes can change over one by one.
    `requests_per_minute` left out keeps the limit of an existing client. Raises ClientRefused for a bad
    name, no or unknown scopes, a negative overlap, and a built-in client.
    """
    if not _NAME.fullmatch(name):
        raise ClientRefused("A name has 1 to 64 characters of A-Z a-z 0-9 . _ : -")
    unknown = sorted(set(scopes) - set(Scope.values))
    if unknown or not scopes:
        what = f"unknown: {', '.join(unknown)}" if unknown else "none given"
        raise ClientRefused(f"Scopes ({what}) are among: {', '.join(Scope.values)}.")
    if overlap < timedelta(0):
        raise ClientRefused("The overlap cannot be negative.")
    prefix = secrets.token_hex(_PREFIX_BYTES)
    key = f"ps_{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    ordered = tuple(scope for scope in Scope.values if scope in scopes)
    with transaction.atomic():
        client = _locked_client(name)
        if client is None:
            client = Client.objects.create(name=name, requests_per_minute=requests_per_minute)
        elif requests_per_minute is not None:
            Client.objects.filter(id=client.id).update(requests_per_minute=requests_per_minute)
        fetch_all(_EXPIRE_KEYS, [overlap, client.id, overlap])
        overlapping = fetch_one(
            "SELECT count(*) FROM ledger_api_key WHERE client_id = %s AND revoked_at IS NULL"
            " AND expires_at > clock_timestamp()",
            [client.id],
        )
        ApiKey.objects.create(client=client, prefix=prefix, digest=_digest(key), scopes=list(ordered))
    return NewKey(name=name, key=key, scopes=ordered, overlapping_keys=overlapping[0] if overlapping else 0)


def revoke_client(*, name: str) -> int:
    """End all keys of the client `name` now; how many there were.

    Its operations stay, and a new key brings it back. Raises ClientRefused for an unknown or built-in one.
    """
    with transaction.atomic():
        client = _locked_client(name)
        if client is None:
            raise ClientRefused(f"There is no client {name!r}.")
        return len(fetch_all(_REVOKE_KEYS, [client.id]))


def authenticate(*, key: str) -> Principal | None:
    """The client that `key` belongs to, or None. Raises OperationalError when PostgreSQL is away.

    Unknown, revoked, expired and malformed keys cannot be told apart by the answer.
    """
    found = _KEY.fullmatch(key)
    row = fetch_one(_KEY_BY_PREFIX, [found[1]]) if found else None
    if row is None or not hmac.compare_digest(bytes(row[0]), _digest(key)):
        return None
    return Principal(client_id=row[1], name=row[2], scopes=frozenset(row[3]), requests_per_minute=row[4])


def _locked_client(name: str) -> Client | None:
    client = Client.objects.select_for_update(no_key=True).filter(name=name).first()
    if client is not None and client.is_built_in:
        raise ClientRefused(f"{name} is a built-in client: it has no keys.")
    return client


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
