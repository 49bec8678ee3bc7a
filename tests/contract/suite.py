"""The contract suite in pytest: the same list of cases over any implementation that a test can start.

A test module gives an `implementation` fixture and takes the cases:

    @pytest.fixture(scope="module")
    def implementation(...) -> Implementation:
        key, other_key = ...
        return Implementation(base_url=..., key=key, other_key=other_key, lacks={Capability.TRANSFER})

    @every_case
    def test_the_contract_is_kept(implementation: Implementation, case: Case) -> None:
        keeps(implementation, case)

    def test_nothing_is_declared_that_is_not_so(implementation: Implementation) -> None:
        declares_what_it_lacks(implementation)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from pointsystem.contract import Case, Result, Suite, find_cases
from pointsystem.contract.capabilities import REPORTS, Capability
from pointsystem.contract.report import failure
from pointsystem.contract.results import Verdict

every_case = pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)

#: Null in an answer, or a history that is not to be had where a case only looks at it to be sure.
_MAY_BE_UNTOLD = REPORTS | {Capability.HISTORY}


@dataclass
class Implementation:
    """One running implementation, and what it declares that it lacks: that, and nothing else, it may."""

    base_url: str
    key: str
    other_key: str
    lacks: Iterable[Capability] = frozenset()
    suite: Suite = field(init=False)
    results: list[Result] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.suite = Suite(self.base_url, self.key, self.other_key)


def keeps(implementation: Implementation, case: Case) -> None:
    """Run `case`: it passes, or is unavailable for what the implementation lacks."""
    result = implementation.suite.run(case)
    implementation.results.append(result)
    judge(result, lacks=frozenset(implementation.lacks))


def declares_what_it_lacks(implementation: Implementation) -> None:
    """The cases that ran before have shown that each declared lack is one, or the declaration is old."""
    if len({result.case.name for result in implementation.results}) < len(find_cases()):
        pytest.skip("only a run of all cases can tell")
    lacks = frozenset(implementation.lacks)
    not_so = sorted(each for each in lacks if not _is_shown(each, implementation.results, lacks))
    if not_so:
        pytest.fail(f"declared to lack, and does not: {', '.join(not_so)}", pytrace=False)


def _is_shown(capability: Capability, results: Iterable[Result], lacks: frozenset[Capability]) -> bool:
    """Whether something was untold or unavailable for `capability`. Cases that need it and nothing else that
    is lacking tell it best; where there are none, any that needs it."""
    if any(capability in result.cannot_tell for result in results):
        return True
    needing = [result for result in results if capability in result.case.needs]
    alone = [result for result in needing if (result.case.needs & lacks) - REPORTS == {capability}]
    return any(
        result.verdict is Verdict.UNAVAILABLE and result.does_otherwise in (None, capability)
        for result in alone or needing
    )


def judge(result: Result, *, lacks: frozenset[Capability]) -> None:
    lacking = (result.case.needs & lacks) - REPORTS
    if result.verdict is Verdict.FAILED:
        pytest.fail(failure(result), pytrace=False)
    if result.verdict is Verdict.SKIPPED:
        pytest.fail(f"{result.case.name} was skipped: {result.message}", pytrace=False)
    if result.verdict is Verdict.UNAVAILABLE and not lacking:
        pytest.fail(f"unavailable, and not declared so:\n{failure(result)}", pytrace=False)
    untold = result.cannot_tell - (lacks & _MAY_BE_UNTOLD)
    if untold:
        pytest.fail(f"not told, and not declared so: {', '.join(sorted(untold))}", pytrace=False)
