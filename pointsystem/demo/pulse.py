"""New customers who come to the till one after the other, all the time: the traffic that never stops.

Each earns, pays and gets a part back, on an account of its own with a single lot, so that what must come of
it does not depend on when a stage changes. They are the ones who notice how long a switch takes.
"""

import hashlib
import threading
import time
from datetime import datetime
from typing import Final

from pointsystem.demo import services
from pointsystem.demo.answers import Answer
from pointsystem.demo.dealing import UNDER_WAY
from pointsystem.demo.journal import Journal, Kind, Line
from pointsystem.demo.traffic import Call, Caller, Traffic, Unanswered
from pointsystem.demo.world import TILLS, World

EARNED_POINTS: Final = 100
SPENT_POINTS: Final = 30
RETURNED_POINTS: Final = 10
_PAUSE_SECONDS: Final = 0.1
_END_SECONDS: Final = 90.0


class Till:
    """Two tills at which customers follow one another: at one they only earn, at the other they pay too."""

    def __init__(self, *, traffic: Traffic, journal: Journal, world: World) -> None:
        self._journal = journal
        self._world = world
        self._has_closed = threading.Event()
        self.customers = 0
        #: Accounts whose earn was only accepted.
        self.accepted: list[tuple[str, str, Call]] = []
        self.failures: list[Exception] = []
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._threads = [
            threading.Thread(
                target=self._work, args=(traffic.caller(), number), name=f"till-{number}", daemon=True
            )
            for number in range(1, TILLS + 1)
        ]

    def open(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Serve nobody else."""
        self._has_closed.set()

    def close(self) -> None:
        """Serve who is there, and no others. Raises Unanswered when somebody never got an answer."""
        self.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_END_SECONDS)
        if self.failures:
            raise self.failures[0]

    def _work(self, caller: Caller, till: int) -> None:
        number = 0
        self._mine.till = self._world.tills[till - 1]
        try:
            while not self._has_closed.wait(_PAUSE_SECONDS):
                number += 1
                self._serve(caller, _account_number(till, number), pays=till == 2)
        except Exception as error:
            self.failures.append(error)

    def _serve(self, caller: Caller, account_number: str, *, pays: bool) -> None:
        with self._lock:
            self.customers += 1
        earn = services.earn(
            service="till",
            account_number=account_number,
            points=EARNED_POINTS,
            reason="ORDER_REWARD",
            reference=account_number,
            key=f"{account_number}:earn",
        )
        answer = self._do(caller, earn, "earn", account_number)
        if answer.status == 202:
            with self._lock:
                self.accepted.append((answer.text("id") or "", account_number, earn))
        else:
            self._look(caller, account_number)
        if not pays:
            return
        spend = services.spend(
            service="till",
            account_number=account_number,
            points=SPENT_POINTS,
            reference=account_number,
            key=f"{account_number}:spend",
        )
        paid = self._do(caller, spend, "spend", account_number)
        if paid.status == 201:
            self._give_back(caller, account_number, paid.text("id") or "")

    def _give_back(self, caller: Caller, account_number: str, operation_id: str) -> None:
        cancel = services.cancel(
            service="till",
            operation_id=operation_id,
            points=RETURNED_POINTS,
            reference=account_number,
            key=f"{account_number}:cancel",
        )
        answer = self._do(caller, cancel, "cancel", account_number, cancels=operation_id)
        if answer.status == 202:
            with self._lock:
                self.accepted.append((answer.text("id") or "", account_number, cancel))

    def _look(self, caller: Caller, account_number: str) -> None:
        with self._mine.till:
            answer = caller.send(services.balance(account_number, service="till"))
        line = Line(
            at=self._world.now,
            kind="balance",
            account_number=account_number,
            status=answer.status,
            available=answer.whole("available"),
        )
        self._journal.write(line)

    def _do(
        self, caller: Caller, call: Call, kind: Kind, account_number: str, *, cancels: str | None = None
    ) -> Answer:
        with self._mine.till:
            answer = caller.send(call)
        # The clock may move while a customer is served: the answer says on which day it was.
        told = answer.text("recorded_at") if answer.status == 201 else None
        self._journal.write(
            Line(
                at=datetime.fromisoformat(told) if told else self._world.now,
                kind=kind,
                account_number=account_number,
                status=answer.status,
                points=(call.body or {}).get("points"),
                cancels=cancels,
                key=call.key,
                operation_id=answer.text("id") or answer.text("operation_id"),
                state=answer.text("state"),
                code=answer.text("code"),
                available=answer.whole("balance_after"),
                is_replayed=answer.is_replayed,
            )
        )
        return answer

    def look_at_accepted(self, caller: Caller) -> None:
        """Ask until all that was only accepted is done; the tills are closed. Raises Unanswered."""
        give_up_at = time.monotonic() + _END_SECONDS
        for operation_id, account_number, _ in self.accepted:
            while True:
                answer = caller.send(services.operation(operation_id, service="till"))
                if answer.text("state") not in UNDER_WAY:
                    break
                if time.monotonic() > give_up_at:
                    raise Unanswered(f"What {account_number} was promised was never done.")
                time.sleep(0.1)
            line = Line(
                at=self._world.now,
                kind="settled",
                account_number=account_number,
                status=answer.status,
                operation_id=operation_id,
                state=answer.text("state"),
                available=answer.whole("balance_after"),
            )
            self._journal.write(line)


def _account_number(till: int, number: int) -> str:
    """In no order: whoever goes through all accounts by number would never come to the last one."""
    digest = hashlib.blake2b(f"{till}/{number}".encode(), digest_size=5).hexdigest()
    return f"TILL{till}-{digest}"
