from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backoffice", "0005_support_guards"),
    ]

    operations = [
        migrations.CreateModel(
            name="MonthsSummed",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("zone", models.CharField(max_length=64, verbose_name="time zone")),
                ("posted_before", models.DateTimeField(verbose_name="posted before")),
            ],
            options={
                "verbose_name": "how far months are summed",
                "verbose_name_plural": "how far months are summed",
                "db_table": "backoffice_months_summed",
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="months_summed_is_one_row")
                ],
            },
        ),
        migrations.CreateModel(
            name="MonthSum",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("month", models.DateField(verbose_name="month")),
                ("reason_id", models.SmallIntegerField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("earn", "earn"),
                            ("spend", "spend"),
                            ("earn_cancel", "earn cancel"),
                            ("spend_cancel", "spend cancel"),
                            ("expire", "expire"),
                            ("transfer_out", "transfer out"),
                            ("transfer_in", "transfer in"),
                            ("adjust", "adjust"),
                            ("clawback", "clawback"),
                        ],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                ("points", models.BigIntegerField(verbose_name="points")),
            ],
            options={
                "verbose_name": "sum of a month",
                "verbose_name_plural": "sums of months",
                "db_table": "backoffice_month_sum",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("month", "reason_id", "kind"), name="month_sum_is_unique")
                ],
            },
        ),
    ]
