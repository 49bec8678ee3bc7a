from pathlib import Path
from typing import Any

from django.db import migrations

_SQL = Path(__file__).parent / "sql"

#: A grant or a deduction by support is an earn or a spend, and needs a reason for just that.
_KINDS = ("earn", "spend")


def allow_corrections(apps: Any, schema_editor: Any) -> None:
    for reason in apps.get_model("ledger", "Reason").objects.filter(code="CORRECTION"):
        reason.kinds = [*reason.kinds, *(kind for kind in _KINDS if kind not in reason.kinds)]
        reason.save(update_fields=["kinds"])


class Migration(migrations.Migration):
    dependencies = [("backoffice", "0004_support_desk"), ("ledger", "0003_first_reasons_and_clients")]

    operations = [
        migrations.RunSQL(
            sql=(_SQL / "0005_support_guards.sql").read_text(),
            reverse_sql=(_SQL / "0005_support_guards_reverse.sql").read_text(),
        ),
        migrations.RunPython(allow_corrections, migrations.RunPython.noop),
    ]
