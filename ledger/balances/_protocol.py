"""What is said to Redis: the commands, packed, and the two scripts that compare versions and set.

The comparison happens in Redis itself, so it holds between all processes. The version of a balance
is the sequence of its account, and stands second in whatever is stored:

    1 17 -                                      tombstone: the balance changed with entry 17
    1 17 1767193200000000 3a0c9f21 {"avail...   value: format, sequence, valid until, checksum, body

Anything else is corrupt and gives way to whoever writes next. A new format needs new keys, or two
releases side by side would take each other's values for corrupt.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

#: Longer than any value lives: a value that was read before the change cannot outlive the tombstone.
TOMBSTONE_MILLISECONDS = 90_000

#: One script call holds up everybody else's commands, about 10 microseconds a key.
_KEYS_PER_CALL = 100

# A note replaces only what is older: where the refresher was faster, its value stays.
_TOMBSTONES = b"""
for i, key in ipairs(KEYS) do
    local current = redis.pcall('GET', key)
    local sequence = type(current) == 'string' and string.match(current, '^1 (%d+) ')
    if not sequence or tonumber(sequence) < tonumber(ARGV[i + 1]) then
        redis.call('SET', key, '1 ' .. ARGV[i + 1] .. ' -', 'PX', ARGV[1])
    end
end
return #KEYS
"""

# ARGV, four for each key: sequence, milliseconds to live, value, and what the writer found there
# before it read PostgreSQL. What was found may be replaced even by an older version: PostgreSQL was
# asked later, so a newer version in Redis belongs to a history that was lost with a failover.
_VALUES = b"""
local written = 0
for i, key in ipairs(KEYS) do
    local a = 4 * i - 3
    local current = redis.pcall('GET', key)
    local sequence = type(current) == 'string' and string.match(current, '^1 (%d+) ')
    if not sequence or tonumber(sequence) <= tonumber(ARGV[a]) or current == ARGV[a + 3] then
        redis.call('SET', key, ARGV[a + 2], 'PX', ARGV[a + 1])
        written = written + 1
    end
end
return written
"""


class VersionedValue(NamedTuple):
    """A value on its way into Redis; `found` is what was there before PostgreSQL was read, if known."""

    key: bytes
    sequence: int
    milliseconds: int
    value: bytes
    found: bytes


def pack(*arguments: bytes) -> bytes:
    """One command in the protocol of Redis."""
    return b"*%d\r\n%b" % (len(arguments), b"".join(map(_bulk, arguments)))


def _bulk(argument: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(argument), argument)


def _digest(script: bytes) -> bytes:
    # The name by which Redis knows a script; nothing depends on its strength.
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()


_TOMBSTONES_DIGEST = _digest(_TOMBSTONES)
_VALUES_DIGEST = _digest(_VALUES)
LOAD_SCRIPTS = pack(b"SCRIPT", b"LOAD", _TOMBSTONES) + pack(b"SCRIPT", b"LOAD", _VALUES)
SCRIPTS = 2

_GET = b"*2\r\n$3\r\nGET\r\n"
# The beginning of the call for one key is always the same.
_ONE_TOMBSTONE = b"*6\r\n$7\r\nEVALSHA\r\n$40\r\n" + _TOMBSTONES_DIGEST + b"\r\n$1\r\n1\r\n"
_LIFETIME = b"%d" % TOMBSTONE_MILLISECONDS
_THEN = _bulk(_LIFETIME)


def tombstones(versions: Mapping[bytes, int]) -> tuple[bytes, int]:
    """Packed commands that note new versions (key to sequence), and how many replies they get."""
    if len(versions) == 1:
        # The usual case, on the way of every earn and spend.
        ((key, sequence),) = versions.items()
        digits = b"%d" % sequence
        return b"%b%b%b%b" % (_ONE_TOMBSTONE, _bulk(key), _THEN, _bulk(digits)), 1
    calls = []
    for chunk in _chunks(list(versions.items())):
        keys = [key for key, _ in chunk]
        sequences = [b"%d" % sequence for _, sequence in chunk]
        count = b"%d" % len(keys)
        calls.append(pack(b"EVALSHA", _TOMBSTONES_DIGEST, count, *keys, _LIFETIME, *sequences))
    return b"".join(calls), len(calls)


def values(items: Sequence[VersionedValue]) -> tuple[bytes, int]:
    """Packed commands that set values unless newer ones are there; each reply counts what was set."""
    calls = []
    for chunk in _chunks(items):
        arguments = [b"EVALSHA", _VALUES_DIGEST, b"%d" % len(chunk), *(item.key for item in chunk)]
        for item in chunk:
            arguments += [b"%d" % item.sequence, b"%d" % item.milliseconds, item.value, item.found]
        calls.append(pack(*arguments))
    return b"".join(calls), len(calls)


def gets(keys: Sequence[bytes]) -> tuple[bytes, int]:
    """Packed commands that read keys one by one, so that one of a wrong type spoils no other."""
    return b"".join([_GET + _bulk(key) for key in keys]), len(keys)


def _chunks(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    return (items[start : start + _KEYS_PER_CALL] for start in range(0, len(items), _KEYS_PER_CALL))
