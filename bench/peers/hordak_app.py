"""Transfers of django-hordak through its own method, in a Django of its own."""

import os
import random
import secrets
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

_ACCOUNTS = 200


def _set_up() -> None:
    if os.environ["BENCH_PEERS_DIR"] not in sys.path:
        # After everything else: the Django of this environment serves both.
        sys.path.append(os.environ["BENCH_PEERS_DIR"])
    import django
    from django.conf import settings

    if settings.configured:
        return
    url = urlsplit(os.environ["BENCH_DATABASE_URL"])
    settings.configure(
        SECRET_KEY=secrets.token_hex(),
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "mptt", "djmoney", "hordak"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        DEFAULT_CURRENCY="KRW",
        HORDAK_CURRENCIES=["KRW"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": url.path.lstrip("/"),
                "USER": url.username,
                "PASSWORD": url.password,
                "HOST": url.hostname,
                "PORT": url.port,
                "CONN_MAX_AGE": None,
            }
        },
    )
    django.setup()


def prepare() -> dict[str, Any]:
    """Its tables, and accounts; where they are there, nothing."""
    _set_up()
    from django.core.management import call_command
    from hordak.models import Account

    call_command("migrate", verbosity=0, stdout=sys.stderr)
    for number in range(_ACCOUNTS):
        Account.objects.create(
            name=f"account {number}", code=str(number), type=Account.TYPES.asset, currencies=["KRW"]
        )
    return {"accounts": Account.objects.count()}


def transfers() -> Callable[[], None]:
    """For one thread: a function that makes one transfer between two accounts chosen at random."""
    _set_up()
    from hordak.models import Account
    from moneyed import Money

    accounts = list(Account.objects.all())

    def once() -> None:
        source, target = random.sample(accounts, 2)
        source.transfer_to(target, Money(random.randint(1, 100), "KRW"))

    return once
