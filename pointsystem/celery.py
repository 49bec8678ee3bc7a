"""Celery: what may be late. PostgreSQL holds the truth of every task, so a lost message costs time only.

Messages are JSON and carry ids, never amounts. The `request_id` and `traceparent` of the request that caused
a task go with it, and into the task's log lines.
"""

import logging.config
import os
from pathlib import Path
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    before_task_publish,
    celeryd_init,
    setup_logging,
    task_prerun,
    worker_process_init,
    worker_ready,
)
from django.db import close_old_connections
from kombu import Exchange, Queue

from pointsystem.embedded.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pointsystem.settings")

QUEUES = ("commands", "mirror", "refresh", "expire", "migrate")
CARRIED = ("request_id", "traceparent")
BROKER_TIMEOUT_SECONDS = 5
# A message that a dead worker took comes back after this long; the sweepers are faster.
VISIBILITY_TIMEOUT_SECONDS = 600

app = Celery("pointsystem")
# Without this, every thread but this one would ask an app without settings, and find no broker.
app.set_default()
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    # Each queue has an exchange and key of its own: with Celery's defaults all would share one, and each
    # message would arrive in every queue.
    task_queues=[Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
    task_default_queue="commands",
    task_create_missing_queues=False,
    task_routes={
        "cutover.tasks.assign": {"queue": "migrate"},
        "cutover.tasks.count_callers": {"queue": "migrate"},
        "cutover.tasks.compare_shadows": {"queue": "migrate"},
        "cutover.tasks.look_for_strangers": {"queue": "mirror"},
        "cutover.tasks.migrate": {"queue": "migrate"},
        "cutover.tasks.mirror": {"queue": "mirror"},
        "cutover.tasks.settle_intents": {"queue": "mirror"},
        "ledger.tasks.drain_inbox": {"queue": "commands"},
        "ledger.tasks.expire_points": {"queue": "expire"},
        "ledger.tasks.sweep_stale_balances": {"queue": "refresh"},
        "ledger.tasks.refresh_balances": {"queue": "refresh"},
        "backoffice.tasks.run_mass_grant": {"queue": "migrate"},
        "backoffice.tasks.sum_months": {"queue": "migrate"},
        "backoffice.tasks.sweep": {"queue": "commands"},
    },
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=True,
    broker_connection_retry_on_startup=True,
    broker_connection_timeout=BROKER_TIMEOUT_SECONDS,
    broker_transport_options={
        "socket_connect_timeout": BROKER_TIMEOUT_SECONDS,
        "socket_timeout": BROKER_TIMEOUT_SECONDS,
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "queue_order_strategy": "priority",
    },
    # Whoever publishes finds out at once that the broker is away, and the sweepers make good for it.
    task_publish_retry=False,
    timezone="UTC",
    enable_utc=True,
    # A message that waited longer than its own interval has a younger brother already, and expires.
    beat_schedule={
        "sweep-stale-balances": {
            "task": "ledger.tasks.sweep_stale_balances",
            "schedule": 5.0,
            "options": {"queue": "refresh", "expires": 5},
        },
        "drain-inbox": {
            "task": "ledger.tasks.drain_inbox",
            "schedule": 5.0,
            "options": {"queue": "commands", "expires": 5},
        },
        "expire-points": {
            "task": "ledger.tasks.expire_points",
            "schedule": 3600.0,
            "options": {"queue": "expire", "expires": 3600},
        },
        "sweep-support-desk": {
            "task": "backoffice.tasks.sweep",
            "schedule": 5.0,
            "options": {"queue": "commands", "expires": 5},
        },
        "sum-months": {
            "task": "backoffice.tasks.sum_months",
            "schedule": 3600.0,
            "options": {"queue": "migrate", "expires": 3600},
        },
    },
)
app.autodiscover_tasks()


@app.on_after_finalize.connect
def schedule_the_recoverer(sender: Celery, **_: Any) -> None:
    """Where there is a legacy, what was left open with it is looked after."""
    from django.conf import settings

    if settings.HAS_LEGACY:
        sender.conf.beat_schedule["settle-intents"] = {
            "task": "cutover.tasks.settle_intents",
            "schedule": 2.0,
            "options": {"queue": "mirror", "expires": 2},
        }
        sender.conf.beat_schedule["mirror"] = {
            "task": "cutover.tasks.mirror",
            "schedule": 1.0,
            "options": {"queue": "mirror", "expires": 1},
        }
        sender.conf.beat_schedule["look-for-strangers"] = {
            "task": "cutover.tasks.look_for_strangers",
            "schedule": 1.0,
            "options": {"queue": "mirror", "expires": 1},
        }
        sender.conf.beat_schedule["look-for-strangers-again"] = {
            "task": "cutover.tasks.look_for_strangers",
            "kwargs": {"again": True},
            "schedule": 20.0,
            "options": {"queue": "mirror", "expires": 20},
        }
        sender.conf.beat_schedule["count-callers"] = {
            "task": "cutover.tasks.count_callers",
            "schedule": 300.0,
            "options": {"queue": "migrate", "expires": 300},
        }
        sender.conf.beat_schedule["assign"] = {
            "task": "cutover.tasks.assign",
            "schedule": 5.0,
            "options": {"queue": "migrate", "expires": 5},
        }
        sender.conf.beat_schedule["migrate"] = {
            "task": "cutover.tasks.migrate",
            "schedule": 15.0,
            "options": {"queue": "migrate", "expires": 15},
        }


@before_task_publish.connect(weak=False)
def carry_context(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Put the request's ids into the message, for the task's log lines."""
    context = structlog.contextvars.get_contextvars()
    for name in CARRIED:
        if headers is not None and context.get(name):
            headers[name] = context[name]


@task_prerun.connect(weak=False)
def begin_task(task_id: str = "", task: Any = None, **_: Any) -> None:
    """Give the task a living database connection and the ids of the request that caused it."""
    structlog.contextvars.clear_contextvars()
    carried = {name: task.request.get(name) for name in CARRIED if task.request.get(name)}
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id, **carried)
    # With CELERY_DB_REUSE_MAX alone, every task after a restart of the database would fail.
    close_old_connections()


@setup_logging.connect(weak=False)
def log_as_configured(**_: Any) -> None:
    """Django's LOGGING holds for workers too; a receiver of this signal keeps Celery from its own."""
    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)


@celeryd_init.connect(weak=False)
def refuse_bad_settings(**_: Any) -> None:
    from pointsystem.checks import refuse_errors

    refuse_errors()


@worker_process_init.connect(weak=False)
def die_with_worker(**_: Any) -> None:
    """A pool process whose worker was killed would hold its message, and its lock, for ever."""
    die_with_parent()


@worker_ready.connect(weak=False)
def tell_supervisor(**_: Any) -> None:
    ready_file = os.environ.get("POINTS_READY_FILE", "")
    if ready_file:
        Path(ready_file).touch()
