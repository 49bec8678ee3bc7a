"""Available balances in Redis: what was committed is announced here, and read back from here.

docs/concepts/balances.md tells how, docs/adr/0007-balances-in-redis.md why.
"""

from ledger.balances._announcing import BalanceChange, announce
from ledger.balances._reading import read, read_json
from ledger.balances._redis import RedisUnavailable
from ledger.balances._refreshing import refresh, refresh_all, refresh_stale, sweep_stale_balances
from ledger.balances._store import CachedBalance, peek
from ledger.balances.guard import InsideTransaction

__all__ = [
    "BalanceChange",
    "CachedBalance",
    "InsideTransaction",
    "RedisUnavailable",
    "announce",
    "peek",
    "read",
    "read_json",
    "refresh",
    "refresh_all",
    "refresh_stale",
    "sweep_stale_balances",
]
