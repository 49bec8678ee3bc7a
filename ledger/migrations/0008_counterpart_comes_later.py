from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0007_client_activity")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0008_counterpart_comes_later.sql").read_text(),
            reverse_sql=(_SQL / "0008_counterpart_comes_later_reverse.sql").read_text(),
        )
    ]
