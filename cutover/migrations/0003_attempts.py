from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("cutover", "0002_guards")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0003_attempts.sql").read_text(),
            reverse_sql=(_SQL / "0003_attempts_reverse.sql").read_text(),
        )
    ]
