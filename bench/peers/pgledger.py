"""Transfers of pgledger, called from psycopg as its users would."""

import os
import random
from collections.abc import Callable

import psycopg

_TRANSFER = "SELECT * FROM pgledger_create_transfer(%s, %s, %s::numeric)"


def transfers() -> Callable[[], None]:
    """For one thread: a function that makes one transfer between two accounts chosen at random."""
    connection = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    connection.prepare_threshold = 0
    accounts = [row[0] for row in connection.execute("SELECT id FROM bench_account ORDER BY number")]
    half = len(accounts) // 2

    def once() -> None:
        source, target = random.randrange(half), random.randrange(half, len(accounts))
        points = random.randint(1, 100)
        connection.execute(_TRANSFER, (accounts[source], accounts[target], points)).fetchone()

    return once
