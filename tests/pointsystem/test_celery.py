"""Tasks in real worker processes: where they go, and what their log lines say."""

import json
import time
import uuid

import pytest
import structlog
from django.conf import settings
from kombu.exceptions import OperationalError

from pointsystem.celery import QUEUES, app
from pointsystem.embedded.processes import Child

# Comes with Celery, and only returns its arguments: nothing of ours is needed to see a message arrive.
TASK = "celery.accumulate"


def _line_of(child: Child, task_id: str, *, seconds: float = 30) -> dict[str, str]:
    """The JSON log line by which the worker says that the task is done."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in child.log.read_text().splitlines():
            if task_id in line and "succeeded" in line:
                parsed: dict[str, str] = json.loads(line)
                return parsed
        time.sleep(0.1)
    raise AssertionError(child.end_of_log())


@pytest.mark.parametrize("queue", QUEUES)
def test_each_queue_has_one_worker_that_takes_its_messages(celery_workers: list[Child], queue: str) -> None:
    worker, batch_worker, _ = celery_workers
    task_id = str(uuid.uuid4())
    app.send_task(TASK, queue=queue, task_id=task_id)
    chosen, other = (batch_worker, worker) if queue in ("expire", "migrate") else (worker, batch_worker)
    _line_of(chosen, task_id)
    assert chosen.log.read_text().count(f"[{task_id}] received") == 1
    assert task_id not in other.log.read_text()


def test_the_ids_of_the_request_reach_the_log_lines_of_its_task(celery_workers: list[Child]) -> None:
    task_id, request_id = str(uuid.uuid4()), f"request-{uuid.uuid4()}"
    traceparent = f"00-{uuid.uuid4().hex}-00f067aa0ba902b7-01"
    with structlog.contextvars.bound_contextvars(request_id=request_id, traceparent=traceparent):
        app.send_task(TASK, queue="commands", task_id=task_id)
    line = _line_of(celery_workers[0], task_id)
    assert line["request_id"] == request_id
    assert line["traceparent"] == traceparent
    assert line["task"] == TASK

    without = str(uuid.uuid4())
    app.send_task(TASK, queue="commands", task_id=without)
    assert "request_id" not in _line_of(celery_workers[0], without)


def test_a_publisher_does_not_wait_for_a_broker_that_is_away() -> None:
    started = time.monotonic()
    with app.connection_for_write("redis://127.0.0.1:1/0") as away:
        producer = app.amqp.Producer(away)
        with pytest.raises(OperationalError):
            app.send_task(TASK, queue="commands", producer=producer)
    assert time.monotonic() - started < 60, "it hangs"


def test_messages_are_json_only() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert settings.CELERY_DB_REUSE_MAX > 0
