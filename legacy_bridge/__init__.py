"""The bridge to an existing point system that lives in stored procedures.

Empty so far, and not installed. Here will live the adapter (which procedure an operation calls, how its
arguments pass, how its answers map to typed errors), the reference legacy for PostgreSQL and MariaDB, and
the reading of its history. This package knows neither `ledger` nor `cutover`.
"""
