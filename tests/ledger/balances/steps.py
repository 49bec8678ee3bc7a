"""The steps out of which the races are put together, and a thread that takes them beside the test."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from django.db import connection

from ledger import balances, queries
from ledger.balances import _format, _redis, _store
from ledger.balances._store import VersionedBalance
from ledger.models import Account, StaleBalance


def beside(action: Callable[..., Any], *args: Any, **values: Any) -> "Future[Any]":
    """Do `action` in another thread, on a database connection of its own; the future has its end."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(action(*args, **values))
        except BaseException as error:
            future.set_exception(error)
        finally:
            connection.close()

    threading.Thread(target=run, daemon=True).start()
    return future


def balance_in_postgresql(account_number: str) -> VersionedBalance:
    """The first half of a refresh, or of a read that found nothing: what is committed now."""
    record, sequence = queries.balance_with_sequence(account_number=account_number)
    return VersionedBalance(record=record, sequence=sequence)


def keep(balance: VersionedBalance) -> None:
    """The second half."""
    _store.put([balance])


def put_without_comparing(client: Any, balance: VersionedBalance) -> None:
    """The second half as it would be without versions: a plain SET."""
    value, _ = _format.encode(balance.record, sequence=balance.sequence)
    client.set(_store.key_of(balance.record.account_number), value)


def cached(account_number: str) -> tuple[str, int | None, int | None]:
    """What Redis holds: (state, sequence, available)."""
    (found,) = balances.peek(account_numbers=[account_number])
    return found.state, found.sequence, found.available


def account_id(account_number: str) -> int:
    return Account.objects.get(account_number=account_number).id


def is_marked_stale(account_number: str) -> bool:
    return StaleBalance.objects.filter(account__account_number=account_number).exists()


def breaker_is_open() -> bool:
    return _redis.breaker.is_open


def count(counter: Any) -> float:
    """Where a counter of `ledger.balances.metrics` stands in this process."""
    return float(counter._value.get())
