"""A service that calls the legacy's procedures itself, as all five did before there was an API.

It has a connection of its own and gives no request id. What it is answered becomes an `Answer`, so that the
services' log reads the same whichever way a service went.
"""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import psycopg

from pointsystem.demo.answers import Answer

#: What the legacy calls the reasons that the services give.
TYPE_CODES: Final = {
    "ORDER_REWARD": "11",
    "REVIEW": "12",
    "EVENT": "13",
    "COMPENSATION": "15",
    "ORDER_PAYMENT": "21",
    "ORDER_CANCELLED": "31",
}
_REFUSALS: Final = {
    "E01": "insufficient_points",
    "E02": "insufficient_points",
    "E03": "not_cancellable",
    "E04": "earn_already_spent",
}
_DONE: Final = "S"
_OUTS: Final = 6


class ProcedureFailed(Exception):
    """A procedure answered what no service has an answer to."""


class Procedures:
    """The connection of one thread to the legacy's database."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
        # Months of history go in; nobody would miss the last of it after a crash of the demo's own server.
        self._connection.execute("SET synchronous_commit = off")

    def earn(
        self,
        *,
        service: str,
        account_number: str,
        points: int,
        reason: str,
        reference: str,
        expires_at: datetime | None = None,
    ) -> Answer:
        """`expires_at` is local, without a zone; None: as long as the legacy's type says."""
        kind = "G" if expires_at else "D"
        given = [
            account_number,
            TYPE_CODES[reason],
            points,
            kind,
            expires_at,
            reference,
            None,
            service.upper(),
        ]
        return self._operate("PR_POINT_EARN", given, operation_id=f"direct:earn:{reference}")

    def spend(self, *, service: str, account_number: str, points: int, reference: str) -> Answer:
        given = [account_number, TYPE_CODES["ORDER_PAYMENT"], points, reference, None, service.upper()]
        return self._operate("PR_POINT_USE", given, operation_id=f"direct:spend:{reference}")

    def cancel(
        self, *, service: str, account_number: str, row: int, points: int, what: str, reference: str
    ) -> Answer:
        """Cancel points of the row that an earlier call became; `what` is `earn` or `spend`."""
        procedure = "PR_POINT_EARN_CANCEL" if what == "earn" else "PR_POINT_USE_CANCEL"
        code = TYPE_CODES["ORDER_CANCELLED"]
        given = [account_number, row, points, code, reference, None, service.upper()]
        return self._operate(procedure, given, operation_id=f"direct:{what}_cancel:{reference}")

    def balance(self, account_number: str) -> Answer:
        row = self._call("PR_POINT_AVAIL", [account_number, None], outs=_OUTS)
        if row[0] not in (_DONE, "E02"):
            raise ProcedureFailed(f"PR_POINT_AVAIL answered {row[0]}: {row[1]}")
        return Answer(status=HTTPStatus.OK, body={"available": int(row[2])}, is_replayed=False)

    def expire(self, *, until: datetime) -> None:
        """The nightly job. `until` is local, without a zone."""
        self._job("PR_POINT_EXPIRE", [until, "BATCH"], outs=5)

    def close_month(self, month: str) -> None:
        """The legacy's own statistics of a month (YYYY-MM), made anew."""
        self._job("PR_POINT_STAT_MONTH", [month.replace("-", "")], outs=3)

    def close(self) -> None:
        self._connection.close()

    def _job(self, procedure: str, given: Sequence[Any], *, outs: int) -> None:
        row = self._call(procedure, given, outs=outs)
        if row[0] != _DONE:
            raise ProcedureFailed(f"{procedure} answered {row[0]}: {row[1]}")

    def _operate(self, procedure: str, given: Sequence[Any], *, operation_id: str) -> Answer:
        code, message, row, balance, _, _ = self._call(procedure, given, outs=_OUTS)
        if code == _DONE:
            body = {"id": operation_id, "state": "completed", "balance_after": int(balance), "row": int(row)}
            return Answer(status=HTTPStatus.CREATED, body=body, is_replayed=False)
        if code not in _REFUSALS:
            raise ProcedureFailed(f"{procedure} answered {code}: {message}")
        return Answer(
            status=HTTPStatus.UNPROCESSABLE_ENTITY, body={"code": _REFUSALS[code]}, is_replayed=False
        )

    def _call(self, procedure: str, given: Sequence[Any], *, outs: int) -> tuple[Any, ...]:
        marks = ", ".join(["%s"] * len(given) + ["NULL"] * outs)
        row = self._connection.execute(f"CALL legacy.{procedure}({marks})", given).fetchone()
        if row is None:
            raise ProcedureFailed(f"{procedure} answered nothing")
        return tuple(row)
