"""Blocking, unblocking and closing accounts: status rows are inserted, never changed."""

from ledger import clock, locks
from ledger.database import fetch_all
from ledger.errors import OperationNotFound
from ledger.models import AccountStatus, AccountStatusChange


def change_status(
    *, account_number: str, status: AccountStatus, note: str, actor: str
) -> AccountStatusChange:
    """Insert the status row and make it the account's status, in the caller's transaction.

    Raises OperationNotFound for an account that was never opened, ValueError for reopening a
    closed one.
    """
    book = locks.books(fetch_all(*locks.account_locks([account_number]))).get(account_number)
    if book is None:
        raise OperationNotFound("There is no such account.")
    if book.status == AccountStatus.CLOSED and status != AccountStatus.CLOSED:
        raise ValueError("a closed account stays closed")
    change = AccountStatusChange.objects.create(
        account_id=book.id, status=status, note=note, actor=actor, recorded_at=clock.now()
    )
    fetch_all("UPDATE ledger_account SET status = %s WHERE id = %s", [status.value, book.id])
    return change
