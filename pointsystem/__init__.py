"""The house: settings, urls, Celery, the REST API, the back-office pages, and what starts them."""

from pointsystem.celery import app as celery_app

__all__ = ["celery_app"]
