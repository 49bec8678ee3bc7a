from pathlib import Path

from django.db import migrations

_SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("cutover", "0006_doubts_by_account"), ("ledger", "0008_counterpart_comes_later")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0007_fence.sql").read_text(),
            reverse_sql=(_SQL / "0007_fence_reverse.sql").read_text(),
        )
    ]
