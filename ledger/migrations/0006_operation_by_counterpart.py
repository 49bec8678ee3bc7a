from django.db import migrations, models


class Migration(migrations.Migration):
    # Built beside the traffic: the table of operations is the largest there is.
    atomic = False
    dependencies = [("ledger", "0005_unfinished_operations")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    sql="CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS operation_counterpart_is_unique"
                    " ON ledger_operation (counterpart_id) WHERE counterpart_id IS NOT NULL",
                    reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS operation_counterpart_is_unique",
                )
            ],
            state_operations=[
                migrations.AddConstraint(
                    model_name="operation",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("counterpart_id__isnull", False)),
                        fields=("counterpart_id",),
                        name="operation_counterpart_is_unique",
                    ),
                )
            ],
        )
    ]
