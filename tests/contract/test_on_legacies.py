"""The same cases over the API wrapped around five legacies: each keeps it within what it declares."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

import pytest

from pointsystem.contract import Case
from pointsystem.contract.capabilities import Capability
from tests.contract.suite import Implementation, declares_what_it_lacks, every_case, keeps
from tests.legacy_bridge.conftest import _databases  # noqa: F401
from tests.wrapped import LEGACIES, Legacy, Wrapped, at_legacy

#: No legacy has a form for these: until the end of the cutover they are answered `not_available_in_stage`.
OF_THE_LEDGER_ALONE: Final = frozenset({Capability.TRANSFER, Capability.AS_OF})
#: Keys of 20 characters; what was earned first is spent first; an earn that was spent cannot be cancelled.
_OF_THE_REFERENCE: Final = frozenset(
    {
        Capability.LONG_ACCOUNT_NUMBERS,
        Capability.SOONEST_FIRST,
        Capability.CLAWBACK_WITHIN_BALANCE,
    }
)
#: What a legacy does in its own way, seen and allowed, or cannot hold.
OF_ITS_OWN: Final[dict[str, frozenset[Capability]]] = {
    "reference-postgresql": _OF_THE_REFERENCE,
    "reference-mariadb": _OF_THE_REFERENCE,
    "status-strings": frozenset({Capability.LONG_ACCOUNT_NUMBERS, Capability.CLAWBACK_WITHIN_BALANCE}),
    "signals": frozenset({Capability.OTHER_REASONS}),
    "exceptions": frozenset({Capability.CLAWBACK_WITHIN_BALANCE}),
}


def lacks(legacy: Legacy) -> frozenset[Capability]:
    """What the adapter declares, in the words of the contract."""
    from legacy_bridge.adapter import Feature

    module, _, name = legacy.adapter.rpartition(".")
    adapter = getattr(import_module(module), name)
    if legacy.module.startswith("legacy_bridge.reference"):
        from legacy_bridge.reference import adapters

        adapter = adapters.PostgreSQLReference if legacy.vendor == "postgresql" else adapters.MariaDBReference
    by_feature = {
        Feature.CANCEL_EARN: [Capability.EARN_CANCEL],
        Feature.CANCEL_SPEND: [Capability.SPEND_CANCEL],
        Feature.CANCEL_PART: [Capability.PARTIAL_CANCEL],
        Feature.LOTS: [Capability.LOTS, Capability.PREVIEW],
        Feature.ALL_LOTS: [Capability.ALL_LOTS],
        Feature.HISTORY: [Capability.HISTORY],
    }
    lacking = {
        capability
        for feature, capabilities in by_feature.items()
        if feature not in adapter.features
        for capability in capabilities
    }
    by_declaration = {
        Capability.EXPIRES_AT: adapter.takes_expires_at,
        Capability.REPORTS_LOTS: adapter.tells_shares,
        Capability.REPORTS_BALANCE_AFTER: adapter.tells_balance_after,
        Capability.REPORTS_EXPIRING: adapter.tells_expiring,
        Capability.REPORTS_NEXT_EXPIRY: adapter.tells_next_expiry,
    }
    lacking |= {capability for capability, can in by_declaration.items() if not can}
    return frozenset(lacking) | OF_THE_LEDGER_ALONE | OF_ITS_OWN[legacy.name]


@pytest.fixture(scope="module", params=LEGACIES, ids=lambda legacy: legacy.name)
def implementation(
    request: pytest.FixtureRequest,
    _databases: Any,  # noqa: F811
    django_db_blocker: Any,
) -> Iterator[Implementation]:
    legacy: Legacy = request.param
    with django_db_blocker.unblock():
        url = _databases.make(legacy.vendor)
        at_legacy(url, legacy.install)
    wrapped = Wrapped(adapter=legacy.adapter, legacy_url=url)
    try:
        wrapped.start()
        key, other_key = wrapped.make_client("contract"), wrapped.make_client("other")
        yield Implementation(base_url=wrapped.url, key=key, other_key=other_key, lacks=lacks(legacy))
    finally:
        wrapped.stop()


@every_case
def test_the_api_keeps_the_contract_over_the_legacy(implementation: Implementation, case: Case) -> None:
    keeps(implementation, case)


def test_what_an_adapter_declares_to_lack_is_seen_to_be_lacking(implementation: Implementation) -> None:
    declares_what_it_lacks(implementation)
