"""Requests over loopback, from processes of their own: by wrk where it is installed, else by ours.

The generator keeps its connections, sends on each the next request as soon as the answer is there, and
counts what is not a success.
"""

import json
import multiprocessing
import random
import secrets
import selectors
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 16


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Requests all alike but for account, points and key.

    `path` and `body` may hold {account}, {points} and {key}; `shares` gives bodies and paths in
    proportion, in place of these. `repeat`: the body is a list item, this many times in one request.
    """

    method: str
    path: str
    accounts: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: bool = False
    most_points: int = 100
    repeat: int = 1
    #: (share of requests, path, body) of a second kind.
    other: tuple[float, str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Load:
    requests: int
    seconds: float
    p50: float
    p99: float
    worst: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


def generator_name() -> str:
    return "wrk" if shutil.which("wrk") else "the generator of bench/load.py"


def run(
    url: str, requests: Requests, *, seconds: float, directory: Path, connections: int = CONNECTIONS
) -> Load:
    """Load `url` for `seconds`. Raises CalledProcessError when wrk cannot."""
    if shutil.which("wrk"):
        return _by_wrk(url, requests, seconds=seconds, directory=directory, connections=connections)
    return _by_python(url, requests, seconds=seconds, connections=connections)


# --- wrk ------------------------------------------------------------------------------------------------
_LUA = """
local number = 0
local prefix = %(prefix)s
local headers = {%(headers)s}
math.randomseed(%(seed)d)

local function fill(text)
  local key = string.format("%%s-%%012d", prefix, number)
  number = number + 1
  text = string.gsub(text, "{account}", function() return tostring(math.random(0, %(last_account)d)) end)
  text = string.gsub(text, "{points}", function() return tostring(math.random(1, %(most_points)d)) end)
  return (string.gsub(text, "{key}", key)), key
end

request = function()
  local path, body = %(path)s, %(body)s
  if %(other_share)f > 0 and math.random() < %(other_share)f then
    path, body = %(other_path)s, %(other_body)s
  end
  if %(repeat)d > 1 then
    local items = {}
    for index = 1, %(repeat)d do items[index] = fill(body) end
    body = '{"operations":[' .. table.concat(items, ",") .. ']}'
  elseif body ~= "" then
    body = fill(body)
  end
  local key
  path, key = fill(path)
  if %(key_header)s then headers["Idempotency-Key"] = key end
  return wrk.format("%(method)s", path, headers, body)
end

done = function(summary, latency, requests)
  io.write(string.format(
    'RESULT {"requests": %%d, "microseconds": %%d, "p50": %%d, "p99": %%d, "worst": %%d, "errors": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
      + summary.errors.status))
end
"""


def _by_wrk(url: str, requests: Requests, *, seconds: float, directory: Path, connections: int) -> Load:
    other = requests.other or (0.0, "", "")
    script = directory / "requests.lua"
    script.write_text(
        _LUA
        % {
            "prefix": json.dumps(secrets.token_hex(11)),
            "headers": ", ".join(
                f"[{json.dumps(k)}] = {json.dumps(v)}" for k, v in _headers(requests).items()
            ),
            "seed": random.randrange(2**31),
            "last_account": requests.accounts - 1,
            "most_points": requests.most_points,
            "path": json.dumps(requests.path),
            "body": json.dumps(requests.body),
            "other_share": other[0],
            "other_path": json.dumps(other[1]),
            "other_body": json.dumps(other[2]),
            "repeat": requests.repeat,
            "key_header": "true" if requests.key_header else "false",
            "method": requests.method,
        }
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, check=True, timeout=seconds + 60
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    return Load(
        requests=result["requests"] - result["errors"],
        seconds=result["microseconds"] / 1e6,
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        worst=result["worst"] / 1000,
        errors=result["errors"],
    )


def _headers(requests: Requests) -> dict[str, str]:
    headers = dict(requests.headers)
    if requests.body:
        headers["Content-Type"] = "application/json"
    return headers


# --- Ours -----------------------------------------------------------------------------------------------
def _by_python(url: str, requests: Requests, *, seconds: float, connections: int) -> Load:
    processes = min(4, connections)
    share = [connections // processes + (number < connections % processes) for number in range(processes)]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        results = pool.starmap(_drive, [(url, requests, seconds, count) for count in share])
    latencies = sorted(latency for found, _ in results for latency in found)
    errors = sum(count for _, count in results)
    if not latencies:
        return Load(requests=0, seconds=seconds, p50=0, p99=0, worst=0, errors=errors)
    return Load(
        requests=len(latencies),
        seconds=seconds,
        p50=statistics.median(latencies) * 1000,
        p99=latencies[int(len(latencies) * 0.99)] * 1000,
        worst=latencies[-1] * 1000,
        errors=errors,
    )


def _drive(url: str, requests: Requests, seconds: float, connections: int) -> tuple[list[float], int]:
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    bodies = _encoded(requests, host=f"{address[0]}:{address[1]}")
    selector = selectors.DefaultSelector()
    started: dict[socket.socket, float] = {}
    waiting: dict[socket.socket, bytes] = {}
    for _ in range(connections):
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        started[connection], waiting[connection] = time.perf_counter(), b""
        connection.sendall(next(bodies))
    latencies: list[float] = []
    errors = 0
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline and selector.get_map():
        for key, _ in selector.select(timeout=0.2):
            assert isinstance(key.fileobj, socket.socket)
            connection = key.fileobj
            received = connection.recv(65536)
            if not received:
                errors += 1
                selector.unregister(connection)
                connection.close()
                continue
            waiting[connection] += received
            if not _is_whole(waiting[connection]):
                continue
            now = time.perf_counter()
            if waiting[connection][9:10] == b"2":
                latencies.append(now - started[connection])
            else:
                errors += 1
            started[connection], waiting[connection] = now, b""
            connection.sendall(next(bodies))
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    return latencies, errors


def _is_whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    if not found:
        return False
    _, _, rest = head.lower().partition(b"content-length:")
    return len(body) >= int(rest.split(b"\r\n", 1)[0] or b"0")


def _encoded(requests: Requests, *, host: str) -> Iterator[bytes]:
    prefix, number = secrets.token_hex(11), 0
    fixed = "".join(f"{name}: {value}\r\n" for name, value in _headers(requests).items())

    def filled(text: str, key: str) -> str:
        text = text.replace("{account}", str(random.randrange(requests.accounts)))
        return text.replace("{points}", str(random.randint(1, requests.most_points))).replace("{key}", key)

    while True:
        path, body = requests.path, requests.body
        if requests.other and random.random() < requests.other[0]:
            _, path, body = requests.other
        if requests.repeat > 1:
            items = (filled(body, f"{prefix}-{number + index:012d}") for index in range(requests.repeat))
            body = '{"operations":[' + ",".join(items) + "]}"
        number += requests.repeat
        key = f"{prefix}-{number:012d}"
        body = filled(body, key) if requests.repeat == 1 else body
        key_line = f"Idempotency-Key: {key}\r\n" if requests.key_header else ""
        encoded = body.encode()
        yield (
            f"{requests.method} {filled(path, key)} HTTP/1.1\r\nHost: {host}\r\n{fixed}{key_line}"
            f"Content-Length: {len(encoded)}\r\n\r\n"
        ).encode() + encoded
