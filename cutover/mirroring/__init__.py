"""Keeping the side that does not decide in step (docs/concepts/mirroring.md).

`messages` holds the rows and what may become of them, `tail` finds what the legacy did past the API,
`to_ledger` and `to_legacy` apply, and `worker` drives both.
"""
