"""Write docs/reference/api.md and errors.md from the table of endpoints."""

from typing import Any

from django.core.management.base import BaseCommand

from pointsystem.api.reference import DIRECTORY, api_reference, errors_reference


class Command(BaseCommand):
    help = "Writes docs/reference/api.md and errors.md from the table of endpoints (for developers)."

    def handle(self, *args: Any, **options: Any) -> None:
        for name, text in (("api.md", api_reference()), ("errors.md", errors_reference())):
            (DIRECTORY / name).write_text(text)
            self.stdout.write(f"docs/reference/{name}")
