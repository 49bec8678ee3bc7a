from typing import Any

from django.db import migrations

ROLES = ["support", "support lead", "operator", "approver", "finance", "auditor"]


def insert(apps: Any, schema_editor: Any) -> None:
    """The groups alone: their permissions are made, and given to them, after all migrations."""
    group_model = apps.get_model("auth", "Group")
    for name in ROLES:
        group_model.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("backoffice", "0002_audit_guards"), ("auth", "0012_alter_user_first_name_max_length")]

    operations = [migrations.RunPython(insert, migrations.RunPython.noop)]
