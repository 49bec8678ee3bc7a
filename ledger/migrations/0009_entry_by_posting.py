import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    # Built beside the traffic.
    atomic = False
    dependencies = [("ledger", "0008_counterpart_comes_later")]

    operations = [
        AddIndexConcurrently(
            model_name="entry",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["posted_at"], name="entry_by_posting", pages_per_range=32
            ),
        )
    ]
