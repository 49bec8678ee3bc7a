from django.db import migrations, models


class Migration(migrations.Migration):
    # Built beside the traffic: there is an intent for every operation that the legacy decided.
    atomic = False
    dependencies = [("cutover", "0005_mirroring")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    sql="CREATE INDEX CONCURRENTLY IF NOT EXISTS intent_in_doubt_by_account"
                    " ON cutover_intent (account_number) WHERE state = 'in_doubt'",
                    reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS intent_in_doubt_by_account",
                )
            ],
            state_operations=[
                migrations.AddIndex(
                    model_name="intent",
                    index=models.Index(
                        condition=models.Q(("state", "in_doubt")),
                        fields=["account_number"],
                        name="intent_in_doubt_by_account",
                    ),
                )
            ],
        )
    ]
