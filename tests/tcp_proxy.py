"""A TCP proxy between the product and a server, whose behaviour a test sets while connections are open.

    with TcpProxy("127.0.0.1", 5432) as proxy:
        proxy.behave(Behaviour.CUT_AFTER_FORWARD, when=b"COMMIT", times=1)
        ...
        proxy.wait_until_met()
        proxy.behave(Behaviour.PASS)

`when` picks the request by bytes in it: statements travel as text in the protocols of PostgreSQL and of
MariaDB. Without it the next request is meant, whatever it is, the first words of a new connection too.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType


class Behaviour(Enum):
    PASS = "pass"
    #: Nobody listens, and what was open is cut.
    REFUSE = "refuse"
    #: The request is passed on, the answer never comes back, and nobody closes anything.
    SWALLOW_ANSWER = "swallow answer"
    #: Nor does the request arrive. New connections are taken, and hang.
    SWALLOW_REQUEST = "swallow request"
    #: The request arrives `seconds` late, even when the sender has gone meanwhile.
    DELAY = "delay"
    #: The sender's connection is cut at once when the request was passed on: the server still works on it.
    CUT_AFTER_FORWARD = "cut after forward"
    #: The sender's connection is cut when the answer is there: the server has done what it was asked for.
    CUT_BEFORE_ANSWER = "cut before answer"
    #: The request never arrives, and both connections are cut.
    CUT_BEFORE_FORWARD = "cut before forward"


@dataclass
class _Rule:
    behaviour: Behaviour = Behaviour.PASS
    when: bytes = b""
    times: int | None = None
    seconds: float = 0.0
    server_is_told: bool = True
    met: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Pair:
    near: socket.socket
    far: socket.socket
    #: The rule that answers go by: that of the last request.
    rule: _Rule = field(default_factory=_Rule)

    def cut(self, *, far: bool = True) -> None:
        for end in (self.near, self.far) if far else (self.near,):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class TcpProxy:
    """Listens on `host`:`port` of its own, and passes bytes on to the target as it was told to behave."""

    host = "127.0.0.1"

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._lock = threading.Lock()
        self._rule = _Rule()
        self._pairs: set[_Pair] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        #: How many connections were taken so far.
        self.connections = 0
        self._listen()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- what a test says -------------------------------------------------------------------------------
    def behave(
        self,
        behaviour: Behaviour,
        *,
        when: bytes = b"",
        times: int | None = None,
        seconds: float = 0.0,
        server_is_told: bool = True,
    ) -> None:
        """Behave so from now on, for `times` requests that contain `when` (None: for all).

        With `server_is_told` false the server's end stays open after a cut, as when a network fails. PASS
        also lets answers through again that were swallowed so far; what was swallowed is gone.
        """
        rule = _Rule(behaviour, when, times, seconds, server_is_told)
        with self._lock:
            self._rule = rule
            if behaviour is Behaviour.PASS:
                for pair in self._pairs:
                    pair.rule = rule
        if behaviour is Behaviour.REFUSE:
            rule.met.set()
            self._close_listener()
            self.cut()
        else:
            self._listen()

    @contextmanager
    def behaving(self, behaviour: Behaviour, **how: object) -> Iterator[None]:
        """Behave so for the length of the block, and pass everything on again after it."""
        self.behave(behaviour, **how)  # type: ignore[arg-type]
        try:
            yield
        finally:
            self.behave(Behaviour.PASS)

    def was_met(self) -> bool:
        """Whether a request met the behaviour that was set last."""
        return self._rule.met.is_set()

    def wait_until_met(self, seconds: float = 10.0) -> None:
        """Wait until a request met the behaviour that was set last. Raises TimeoutError."""
        if not self._rule.met.wait(seconds):
            raise TimeoutError(f"No request met {self._rule.behaviour.value!r}.")

    def cut(self) -> None:
        """Cut every connection, on both ends."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            pair.cut()

    def stop(self) -> None:
        self._close_listener()
        self.cut()

    # --- how it is done ---------------------------------------------------------------------------------
    def _listen(self) -> None:
        if self._listener is not None:
            return
        self._listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # Closing alone does not wake a thread that waits in accept().
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, timeout=10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(near, far)
            with self._lock:
                self.connections += 1
                self._pairs.add(pair)
            threading.Thread(target=self._pass_requests, args=(pair,), daemon=True).start()
            threading.Thread(target=self._pass_answers, args=(pair,), daemon=True).start()

    def _rule_for(self, before: bytes, part: bytes) -> _Rule:
        with self._lock:
            rule = self._rule
            # A statement may come in two parts; one that has passed whole is not met again.
            first = before[-(len(rule.when) - 1) :] if len(rule.when) > 1 else b""
            if rule.behaviour in (Behaviour.PASS, Behaviour.REFUSE) or rule.when not in first + part:
                return _Rule()
            if rule.times is not None:
                if rule.times < 1:
                    return _Rule()
                rule.times -= 1
            return rule

    def _pass_requests(self, pair: _Pair) -> None:
        before = b""
        with suppress(OSError):
            while part := pair.near.recv(65536):
                rule = self._rule_for(before, part)
                before = part[-64:]
                if not _forward(pair, part, rule):
                    return
        # Who swallows, or cuts without telling, leaves the server waiting, as a broken network does.
        if pair.rule.behaviour in (Behaviour.PASS, Behaviour.DELAY):
            pair.cut()

    def _pass_answers(self, pair: _Pair) -> None:
        with suppress(OSError):
            while part := pair.far.recv(65536):
                rule = pair.rule
                if rule.behaviour in (Behaviour.PASS, Behaviour.DELAY):
                    pair.near.sendall(part)
                elif rule.behaviour is Behaviour.CUT_BEFORE_ANSWER:
                    rule.met.set()
                    pair.cut(far=rule.server_is_told)
        # The server hung up: the sender hears of it unless answers are swallowed.
        if pair.rule.behaviour in (Behaviour.PASS, Behaviour.DELAY):
            pair.cut()


def _forward(pair: _Pair, part: bytes, rule: _Rule) -> bool:
    """Pass one part of a request on as the rule says; whether there may be more."""
    behaviour = rule.behaviour
    if behaviour is Behaviour.CUT_BEFORE_FORWARD:
        rule.met.set()
        pair.cut()
        return False
    if behaviour is Behaviour.DELAY:
        rule.met.set()
        time.sleep(rule.seconds)
    if behaviour is not Behaviour.PASS:
        # Before it is passed on: the answer may be faster than this thread.
        pair.rule = rule
    if behaviour is not Behaviour.SWALLOW_REQUEST:
        pair.far.sendall(part)
    if behaviour not in (Behaviour.PASS, Behaviour.CUT_BEFORE_ANSWER):
        # Before the cut: the sender may look for it as soon as it is told.
        rule.met.set()
    if behaviour is Behaviour.CUT_AFTER_FORWARD:
        pair.cut(far=rule.server_is_told)
    return behaviour is not Behaviour.CUT_AFTER_FORWARD
