"""The way from the legacy to the ledger, account by account and without a stop.

Empty so far, and not installed. Here will live stages and routing, mirror messages, the freeze, the
migration of history, verification and reconciliation. Until then `ledger` decides every operation alone.
"""
