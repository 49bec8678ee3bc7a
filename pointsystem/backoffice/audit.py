"""The one door to the audit trail: every change that a person makes in the back office passes here.

An entry is written in the transaction of the change, so that neither exists without the other.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.http import HttpRequest
from django.utils import timezone

from pointsystem.backoffice.models import AuditEntry
from pointsystem.middleware import client_address

_MOST_REASON_CHARACTERS: Final = 500
_MOST_SUBJECT_CHARACTERS: Final = 150


class AuditOutsideTransaction(Exception):
    """There is no transaction: the change and its entry could exist without each other."""


def record(
    *,
    action: str,
    subject_kind: str,
    subject_id: object,
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    request: HttpRequest | None = None,
    person: AbstractBaseUser | AnonymousUser | None = None,
) -> AuditEntry:
    """Write down who did what, in the transaction that is open.

    `action` is `subject.verb` in lower case (`account.blocked`). `before` and `after` are what changed, as
    JSON can carry it (dates, decimals and UUIDs included); never secrets. `person` left out is who sent
    `request`; without both it is a job. Raises AuditOutsideTransaction when no transaction is open, and
    IntegrityError when an action or subject kind is not of that form.
    """
    if not connection.in_atomic_block:
        raise AuditOutsideTransaction(f"{action} of {subject_kind} {subject_id} outside a transaction")
    who = person if person is not None else getattr(request, "user", None)
    known = who if isinstance(who, User) or getattr(who, "is_authenticated", False) else None
    return AuditEntry.objects.create(
        at=timezone.now(),
        person_id=known.pk if known is not None else None,
        username=known.get_username() if known is not None else "",
        action=action,
        subject_kind=subject_kind,
        subject_id=_text(subject_id)[:_MOST_SUBJECT_CHARACTERS],
        reason=_text(reason)[:_MOST_REASON_CHARACTERS],
        before=as_json(before),
        after=as_json(after),
        request_id=str(getattr(request, "request_id", "")),
        ip=(client_address(request) or None) if request is not None else None,
    )


def as_json(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """`values` as JSON carries them, so that what is kept can be read without our code."""
    if values is None:
        return None
    plain: dict[str, Any] = _without_nul(json.loads(json.dumps(dict(values), cls=DjangoJSONEncoder)))
    return plain


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Of two states the values that differ; the whole of the one that is there when the other is None."""
    old, new = as_json(before), as_json(after)
    if old is None or new is None:
        return old, new
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return (
        {name: old[name] for name in changed if name in old},
        {name: new[name] for name in changed if name in new},
    )


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_text(name): _without_nul(each) for name, each in value.items()}
    return value


def _text(value: object) -> str:
    """PostgreSQL keeps no NUL characters, and an entry must not fail for one that somebody sent."""
    return str(value).replace("\x00", "")
