from typing import Any

from django.db import migrations

CODE = "MIGRATION_DIFFERENCE"


def insert(apps: Any, schema_editor: Any) -> None:
    reason = apps.get_model("ledger", "Reason").objects.create(
        code=CODE, label="What the legacy's history does not explain", kinds=["adjust"], is_active=True
    )
    apps.get_model("ledger", "ReasonPolicy").objects.create(reason=reason, version=1, validity_days=None)


class Migration(migrations.Migration):
    dependencies = [("cutover", "0007_fence")]

    # A reason is never deleted.
    operations = [migrations.RunPython(insert, migrations.RunPython.noop)]
