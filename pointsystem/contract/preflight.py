"""What must hold before a run means anything: the server is there, and takes the key for every call."""

from __future__ import annotations

from typing import Final

from pointsystem.contract.client import Client, NoAnswer
from pointsystem.contract.world import World, balance_path, cancel_path, earn_path, spend_path

#: One request for each scope. None does anything: their bodies are empty.
_PROBES: Final = (
    ("points:earn", earn_path),
    ("points:spend", spend_path),
    ("points:cancel", lambda account: cancel_path(World.key())),
    ("points:transfer", lambda account: "/api/v1/transfers"),
)


class WrongUse(Exception):
    """The run cannot begin; the message says why."""


def check(base_url: str, key: str, *, shown_as: str = "--key") -> None:
    """Raises WrongUse where `base_url` is no point system, or does not take `key` for every call."""
    try:
        client = Client(base_url, key, timeout_seconds=10.0)
        _check_key(client, base_url, shown_as)
    except (ValueError, NoAnswer) as error:
        raise WrongUse(f"{base_url} cannot be reached: {error}") from error


def _check_key(client: Client, base_url: str, shown_as: str) -> None:
    account = World.account()
    read = client.send("GET", balance_path(account))
    if read.code == "not_authenticated":
        raise WrongUse(f"{base_url} does not know the key of {shown_as}.")
    missing = ["points:read"] if read.code == "scope_missing" else []
    if read.status != 200 and not missing:
        raise WrongUse(
            f"{base_url} does not answer as a point system: {read.status} for {balance_path(account)}."
        )
    for scope, path in _PROBES:
        probed = client.send(
            "POST", path(account), body=b"{}", headers=[("Content-Type", "application/json")]
        )
        if probed.code == "scope_missing":
            missing.append(scope)
    client.close()
    if missing:
        raise WrongUse(f"The key of {shown_as} needs also: {', '.join(missing)}.")
