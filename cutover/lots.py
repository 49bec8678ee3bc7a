"""The ids of lots on both sides: the legacy's own, the one derived from it, and the ledger's.

A lot that the legacy granted has the derived id in the ledger too. One that the ledger granted has an id of
its own there, under which clients know it, and that stays so when the legacy decides again.
"""

import time
from collections.abc import Collection
from typing import Final
from uuid import UUID

from cutover import identifiers
from ledger.database import fetch_all

_KNOWN_AS: Final = "SELECT derived_id, lot_id FROM cutover_lot_alias WHERE derived_id = ANY (%s::uuid[])"
# Planned once, where one of several is planned anew for each list.
_ONE_KNOWN_AS: Final = "SELECT derived_id, lot_id FROM cutover_lot_alias WHERE derived_id = %s"
_ANY: Final = "SELECT EXISTS (SELECT FROM cutover_lot_alias)"
_ADD: Final = """
INSERT INTO cutover_lot_alias (derived_id, lot_id) VALUES (%s, %s) ON CONFLICT DO NOTHING
"""
_LOOK_AGAIN_SECONDS: Final = 0.2

_has_any: tuple[float, bool] = (0.0, False)


def ids_of(legacy_lot_ids: Collection[str], *, is_exact: bool = False) -> dict[str, UUID]:
    """By the legacy's own id: the id under which clients know the lot; with `is_exact` also of one that was
    added this moment."""
    derived = {legacy_id: identifiers.lot_id(legacy_id) for legacy_id in legacy_lot_ids}
    if not derived or not (is_exact or has_any()):
        return derived
    aliases: dict[UUID, UUID]
    if len(derived) == 1:
        aliases = dict(fetch_all(_ONE_KNOWN_AS, list(derived.values())))
    else:
        aliases = dict(fetch_all(_KNOWN_AS, [list(derived.values())]))
    return {legacy_id: aliases.get(lot_id, lot_id) for legacy_id, lot_id in derived.items()}


def add(*, legacy_lot_id: str, lot_id: UUID) -> None:
    """Note that the legacy keeps the ledger's lot `lot_id` as its own `legacy_lot_id`."""
    global _has_any
    derived = identifiers.lot_id(legacy_lot_id)
    if derived != lot_id:
        fetch_all(_ADD, [derived, lot_id])
        _has_any = (time.monotonic(), True)


def forget() -> None:
    """Look anew whether there are any (tests)."""
    global _has_any
    _has_any = (0.0, False)


def has_any() -> bool:
    """Whether any lot of the legacy goes by another id.

    Most installs have none for most of their time, and once there is one there always is.
    """
    global _has_any
    looked_at, found = _has_any
    if found or time.monotonic() - looked_at < _LOOK_AGAIN_SECONDS:
        return found
    found = bool(fetch_all(_ANY)[0][0])
    _has_any = (time.monotonic(), found)
    return found
