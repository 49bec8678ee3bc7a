"""The figures of the benchmark, by number. Those that are missing belong to parts not built yet."""

from collections.abc import Callable, Mapping
from typing import Final

from bench.figures import (
    background,
    histories,
    http,
    memory,
    migrating,
    mirroring,
    servers,
    switching,
    wrapped,
)
from bench.figures.options import Options
from bench.row import Row
from bench.world import World

Figure = Callable[[World, Options], list[Row]]

FIGURES: Final[Mapping[str, Figure]] = {
    "P1": http.earn,
    "P2": http.spend,
    "P3": http.balance,
    "P4": servers.other_ledgers,
    "P5": servers.database_alone,
    "P6": histories.long_histories,
    "P7": http.hot_account,
    "P8": wrapped.legacy,
    "P9": mirroring.followed,
    "P10": mirroring.drained,
    "P11": http.batches,
    "P12": migrating.migrated,
    "P13": background.expiry,
    "P14": background.refreshes,
    "P15": switching.paused,
    "P16": background.verification,
    "P17": memory.resident,
    "P18": servers.written,
}
