"""The subcommands of `manage.py legacy`, and the table that other applications add theirs to.

An application above this one registers its own in its `AppConfig.ready`:

    from legacy_bridge.reference.commands import register

    register(Callers())
"""

from legacy_bridge.reference.commands.subcommand import EXIT_FAILED, EXIT_WRONG_USE, Subcommand

__all__ = ["EXIT_FAILED", "EXIT_WRONG_USE", "Subcommand", "register", "subcommands"]

_registered: dict[str, Subcommand] = {}


def register(subcommand: Subcommand) -> None:
    """Add a subcommand to `manage.py legacy`. The same name again replaces the one before."""
    _registered[subcommand.name] = subcommand


def subcommands() -> dict[str, Subcommand]:
    """All of them by name, the bridge's own first."""
    from legacy_bridge.reference.commands.installing import Install, Marker
    from legacy_bridge.reference.commands.loading import Load

    own: list[Subcommand] = [Install(), Marker(), Load()]
    return {subcommand.name: subcommand for subcommand in own} | _registered
