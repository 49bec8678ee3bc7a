from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations


class Migration(migrations.Migration):
    # Built beside the traffic.
    atomic = False
    dependencies = [("ledger", "0008_counterpart_comes_later")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    sql="CREATE INDEX CONCURRENTLY IF NOT EXISTS entry_by_posting ON ledger_entry"
                    " USING brin (posted_at) WITH (autosummarize = on, pages_per_range = 32)",
                    reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS entry_by_posting",
                )
            ],
            state_operations=[
                migrations.AddIndex(
                    model_name="entry",
                    index=BrinIndex(
                        autosummarize=True,
                        fields=["posted_at"],
                        name="entry_by_posting",
                        pages_per_range=32,
                    ),
                )
            ],
        )
    ]
