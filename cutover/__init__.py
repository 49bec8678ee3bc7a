"""The way from the legacy to the ledger, account by account and without a stop.

`face` answers for whoever decides: in stage LEGACY_ONLY the legacy (`wrapped`, `resolving`), through
intents (`intents`) that commit before its procedure is called and can always be settled afterwards
(`settling`), or are left to a person (`doubts`); in NEW_ONLY the ledger. `reading` shows the legacy's
accounts in the API's words, `rows` gives rows that no call of the API made an operation of their own,
`callers` finds who still calls procedures directly.

The stages between, mirroring, migration and the switch itself come next (CHANGELOG.md).
"""
