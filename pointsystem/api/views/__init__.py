"""The endpoints. Each parses nothing and decides nothing: one call to the ledger, and its answer in JSON."""
