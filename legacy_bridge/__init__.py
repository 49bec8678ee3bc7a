"""The bridge to an existing point system that lives in stored procedures.

An adapter (`adapter.LegacyAdapter`) says which procedure an operation calls, how its arguments pass, how
its answers map to typed errors, what the legacy cannot do, and how its history is read. `sessions` is the
one place that opens cursors, `calling` has a helper for every calling style, `giving` gives one operation
to the legacy so that its outcome can always be found out later. `reference` is a legacy to try it on.

This package knows neither `ledger` nor `cutover`, and holds no data of its own in the product's database.
"""
