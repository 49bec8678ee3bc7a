"""Python's garbage collector, while millions of records are made that hold no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Objects that are made before it looks at them; the default is 700, and a batch has hundreds of thousands.
_AT_ONCE: Final = 50_000


@contextmanager
def few_collections() -> Iterator[None]:
    """Have the collector look seldom, and not at what was there before: it would find nothing, and takes a
    fifth of the time of a migration to do so."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_AT_ONCE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
