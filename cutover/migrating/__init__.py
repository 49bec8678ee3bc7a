"""Moving the whole history of the legacy into the ledger (docs/concepts/migration.md).

`reading` takes one snapshot of some accounts, `adopting` gives their rows operations, `sharing` and
`replaying` find out what is to be posted, `importing` posts it in one transaction, `running` goes through all
accounts, and `runs` keeps how far that is.
"""

from cutover.migrating.running import NoHistory, run
from cutover.migrating.runs import Overtaken, Progress, RunIsHeld
from cutover.migrating.working import Overview, WindowInvalid, carry_on, progress, start

__all__ = [
    "NoHistory",
    "Overtaken",
    "Overview",
    "Progress",
    "RunIsHeld",
    "WindowInvalid",
    "carry_on",
    "progress",
    "run",
    "start",
]
