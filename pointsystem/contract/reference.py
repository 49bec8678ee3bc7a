"""docs/reference/contract.md, written from the list of cases."""

from __future__ import annotations

from typing import Final

from pointsystem.contract.capabilities import MEANINGS
from pointsystem.contract.registry import GROUPS, Case, find_cases

_INTRODUCTION: Final = """# The contract suite

Written from the list of cases by `manage.py contract --reference`; do not edit by hand.

What clients can rely on, as {count} cases that run over HTTP against every implementation of the API: the
ledger, the same API around each legacy, and any live server.

```sh
SCOPES=$(printf -- '--scope points:%s ' read earn spend cancel transfer)
python3 manage.py create_client contract $SCOPES
python3 manage.py create_client contract-other $SCOPES
python3 manage.py contract --base-url http://127.0.0.1:8000 --key KEY --other-key OTHER_KEY
```

It needs no database of its own, and writes to the one of the server: each case earns and spends on new
accounts, whose numbers begin with `ct-`. It ends with 0 when nothing failed, 1 when something did, and 2 when
the server cannot be reached or refuses the key. `--only PATTERN` chooses cases, `--list` prints them, and
`--json` prints everything that was found, with the exchange that decided. A limit of the client's rate is
waited for.

Each case is `passed`, `failed`, `skipped` (it needs `--other-key`), or `unavailable`: the side that decides
cannot do it and said so, with 409 `not_available_in_stage` or in the other way that stands below. Only a case
that names a capability may be unavailable. What may be null where the side that decides cannot tell it is
compared only in cases that name it, and listed as not told.

## Capabilities

What an implementation may lack. The ledger lacks none.

| capability | means |
|---|---|
"""

_PLUGGING_IN: Final = """
## Another implementation

In the tests, `tests/contract/suite.py` runs the same list against any server that a test can start. The test
declares what its implementation lacks. A case fails for whatever else is unavailable or null, and the last
test for what was declared to be lacking and is not.

```python
@pytest.fixture(scope="module")
def implementation(url_of_my_server: str, django_db_blocker: Any) -> Implementation:
    key, other_key = make_clients(django_db_blocker)
    lacks = {Capability.TRANSFER, Capability.REPORTS_LOTS}
    return Implementation(base_url=url_of_my_server, key=key, other_key=other_key, lacks=lacks)


@every_case
def test_my_legacy_keeps_the_contract(implementation: Implementation, case: Case) -> None:
    keeps(implementation, case)


def test_my_legacy_declares_what_it_lacks(implementation: Implementation) -> None:
    declares_what_it_lacks(implementation)
```
"""


def line(case: Case) -> str:
    """One case as `--list` prints it."""
    needs = f"  [{', '.join(sorted(case.needs))}]" if case.needs else ""
    other = "  [--other-key]" if case.needs_other_client else ""
    return f"{case.name}{needs}{other}\n    {case.promise}"


def page() -> str:
    """The whole page."""
    listed = find_cases()
    parts = [_INTRODUCTION.format(count=len(listed))]
    for capability, meaning in MEANINGS.items():
        parts.append(f"| `{capability}` | {meaning} |\n")
    parts.append(_PLUGGING_IN)
    for group in GROUPS:
        parts.append(
            f"\n## {group.replace('_', ' ').capitalize()}\n\n| case | promise | needs |\n|---|---|---|\n"
        )
        for case in listed:
            if case.group == group:
                needs = [f"`{capability}`" for capability in sorted(case.needs)]
                needs += ["another client"] if case.needs_other_client else []
                parts.append(f"| `{case.name}` | {case.promise} | {', '.join(needs)} |\n")
    return "".join(parts)
