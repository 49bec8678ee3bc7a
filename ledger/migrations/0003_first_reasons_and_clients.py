from typing import Any

from django.db import migrations

EARNING = ["earn", "adjust"]
#: code, label, kinds, validity in days (None: never expires)
REASONS = [
    ("ORDER_REWARD", "Reward for an order", EARNING, 365),
    ("REVIEW", "Reward for a review", EARNING, 365),
    ("EVENT", "Event", EARNING, 365),
    ("GIFT_CARD", "Gift card", EARNING, None),
    ("COMPENSATION", "Compensation", EARNING, 365),
    ("ORDER_PAYMENT", "Payment of an order", ["spend"], 365),
    ("GIFT", "Gift", ["spend", "transfer"], 365),
    ("ORDER_CANCELLED", "Order cancelled", ["earn_cancel", "spend_cancel"], 365),
    ("CORRECTION", "Correction", ["adjust", "earn_cancel", "spend_cancel"], 365),
]


def insert(apps: Any, schema_editor: Any) -> None:
    reason_model = apps.get_model("ledger", "Reason")
    policy_model = apps.get_model("ledger", "ReasonPolicy")
    client_model = apps.get_model("ledger", "Client")
    for code, label, kinds, validity_days in REASONS:
        reason = reason_model.objects.create(code=code, label=label, kinds=kinds)
        policy_model.objects.create(reason=reason, version=1, validity_days=validity_days)
    for name in ("system", "back-office"):
        client_model.objects.create(name=name, is_built_in=True)


class Migration(migrations.Migration):
    dependencies = [("ledger", "0002_guards")]

    operations = [migrations.RunPython(insert, migrations.RunPython.noop)]
