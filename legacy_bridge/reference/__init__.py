"""The reference legacy: a point system in stored procedures, as such systems really are.

`postgresql/` and `mariadb/` hold its tables and procedures, `ReferenceAdapter` is its adapter, `installing`
puts it into a database, `orders` and `generating` fill it, `commands` are the subcommands of `legacy`.
docs/reference/reference-legacy.md describes it.
"""

from legacy_bridge.reference.adapters import ReferenceAdapter

__all__ = ["ReferenceAdapter"]
