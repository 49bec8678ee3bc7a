"""Both faces have the functions of the protocol, with its arguments: what stands behind a dotted path no type
checker sees."""

import inspect
from types import ModuleType

import pytest

from cutover import face as under_a_cutover
from ledger import door
from ledger import face as by_itself

FUNCTIONS = [name for name, value in vars(door.Face).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.mark.parametrize("side", [by_itself, under_a_cutover], ids=["ledger", "cutover"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_face_has_the_function(side: ModuleType, name: str) -> None:
    wanted = list(inspect.signature(getattr(door.Face, name)).parameters.values())[1:]
    given = inspect.signature(getattr(side, name)).parameters.values()

    assert [(one.name, one.kind) for one in given] == [(one.name, one.kind) for one in wanted]
    assert [one.name for one in given if one.default is one.empty] == [
        one.name for one in wanted if one.default is one.empty
    ]


def test_nothing_else_is_a_face() -> None:
    assert len(FUNCTIONS) == 14
    assert sorted(by_itself.__all__) == sorted(under_a_cutover.__all__) == sorted(FUNCTIONS)
