"""What a subcommand of `manage.py legacy` is."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

from django.core.management.base import BaseCommand, CommandParser

EXIT_FAILED: Final = 1
EXIT_WRONG_USE: Final = 2


class Subcommand(ABC):
    name: ClassVar[str]
    help: ClassVar[str]
    #: It works on the database of LEGACY_DATABASE_URL, and is refused where there is none.
    needs_legacy: ClassVar[bool] = True

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options; without any there is nothing to do."""
        return

    @abstractmethod
    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        """Do it. Raises CommandError with the exit code: 1 found something wrong, 2 wrong use."""
