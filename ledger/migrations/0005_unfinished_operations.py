from pathlib import Path
from typing import Any

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


def insert_client(apps: Any, schema_editor: Any) -> None:
    apps.get_model("ledger", "Client").objects.get_or_create(name="legacy", defaults={"is_built_in": True})


class Migration(migrations.Migration):
    dependencies = [("ledger", "0004_decided_elsewhere")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0005_unfinished_operations.sql").read_text(),
            reverse_sql=(_SQL / "0005_unfinished_operations_reverse.sql").read_text(),
        ),
        migrations.RunPython(insert_client, migrations.RunPython.noop),
    ]
