from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0009_entry_by_posting")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0010_checks_by_index.sql").read_text(),
            reverse_sql=(_SQL / "0010_checks_by_index_reverse.sql").read_text(),
        )
    ]
