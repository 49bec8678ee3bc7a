from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("cutover", "0001_initial"), ("ledger", "0006_operation_by_counterpart")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0002_guards.sql").read_text(),
            reverse_sql=(_SQL / "0002_guards_reverse.sql").read_text(),
        )
    ]
