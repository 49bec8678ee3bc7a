"""Moving the whole history of the legacy into the ledger (docs/concepts/migration.md)."""
