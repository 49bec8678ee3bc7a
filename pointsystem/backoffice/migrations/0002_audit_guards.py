from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("backoffice", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0002_audit_guards.sql").read_text(),
            reverse_sql=(_SQL / "0002_audit_guards_reverse.sql").read_text(),
        )
    ]
