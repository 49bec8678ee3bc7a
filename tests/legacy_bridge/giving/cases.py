"""Four legacies, one for each way of settling and server, behind a proxy."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType

from legacy_bridge import giving
from legacy_bridge.adapter import LegacyAdapter, Settling
from legacy_bridge.calling import one, select_function
from legacy_bridge.records import (
    Decision,
    EarnRequest,
    LegacyBalance,
    Request,
    Settled,
    SpendRequest,
)
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import exceptions, signals, status_strings
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.proxied import COMMIT, Beside
from tests.tcp_proxy import TcpProxy

TIMEOUT = 1.0

BY_ID = """
CREATE TABLE kept (
    id uuid PRIMARY KEY, account text NOT NULL, points int NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now()
)
//
CREATE FUNCTION keep(p_id uuid, p_account text, p_points int, OUT number bigint, OUT at timestamptz)
    LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext(p_account));
    INSERT INTO kept (id, account, points) VALUES (p_id, p_account, p_points) RETURNING number, at $$
"""


class ById(LegacyAdapter):
    """The shortest legacy there is: its function takes our id."""

    settling = Settling.BY_ID

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        arguments = [request.operation_id, request.account_number, request.points]
        number, at = one(select_function(session, "keep", arguments))
        return Decision(row_id=str(number), points=request.points, recorded_at=at)

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        arguments = [request.operation_id, request.account_number, -request.points]
        number, at = one(select_function(session, "keep", arguments))
        return Decision(row_id=str(number), points=request.points, recorded_at=at)

    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        rows = session.query("SELECT coalesce(sum(points), 0) FROM kept WHERE account = %s", [account_number])
        return LegacyBalance(available=int(one(rows)[0]))

    def find_by_operation_id(
        self, session: Session, *, operation_id: uuid.UUID, account_number: str
    ) -> Decision | None:
        rows = session.query("SELECT number, points, at FROM kept WHERE id = %s", [operation_id])
        return (
            Decision(row_id=str(rows[0][0]), points=abs(rows[0][1]), recorded_at=rows[0][2]) if rows else None
        )


def install_by_id() -> None:
    with session() as opened:
        run_text(opened, BY_ID)


def installs(module: ModuleType) -> Callable[[], None]:
    def install() -> None:
        with session() as opened:
            module.install(opened)

    return install


#: name: (server, what makes the legacy, the adapter, what the request of the call looks like on the wire)
LEGACIES: dict[str, tuple[str, Callable[[], None], type[LegacyAdapter], bytes]] = {
    "by id": ("postgresql", install_by_id, ById, b"keep("),
    "by marker on PostgreSQL": ("postgresql", installs(exceptions), exceptions.Adapter, b"loyalty.earn("),
    "by marker on MariaDB": ("mariadb", installs(status_strings), status_strings.Adapter, b"CALL p_grant("),
    "by new row": ("mariadb", installs(signals), signals.Adapter, b"CALL accrue("),
}


@dataclasses.dataclass
class Case:
    adapter: LegacyAdapter
    proxy: TcpProxy
    beside: Beside
    call: bytes

    @property
    def commit(self) -> bytes:
        return COMMIT["postgresql" if self.beside.is_postgresql else "mysql"]

    def give(self, request: Request) -> tuple[Exception | Decision, str | None, str]:
        """What came of it, the bookmark from before, and the session that made the call."""
        with session() as opened:
            known = giving.bookmark(self.adapter, opened, account_number=request.account_number)
            name = opened.identity
            try:
                return giving.give(self.adapter, opened, request), known, name
            except Exception as error:
                return error, known, name

    def settle(self, request: Request, known: str | None, old_session: str) -> Settled:
        with session() as opened:
            return giving.settle(self.adapter, opened, request, known_row_id=known, old_session=old_session)

    def available(self, account: str) -> int:
        with session() as opened:
            now = datetime.now(UTC)
            return self.adapter.balance(opened, account_number=account, expiring_before=now).available
