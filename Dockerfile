# The product for servers of one's own: no environment is built at start, and nothing runs as root.
FROM python:3.12-slim

ENV POINTS_NO_BOOTSTRAP=1 \
    PYTHONUNBUFFERED=1 \
    STATIC_ROOT=/srv/static \
    PROMETHEUS_MULTIPROC_DIR=/tmp/metrics

WORKDIR /srv/pointsystem
COPY requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY . .
RUN python manage.py collectstatic --noinput --verbosity 0 \
    && useradd --system --no-create-home points \
    && install -d -o points /tmp/metrics
USER points

EXPOSE 8000
CMD ["python", "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", \
     "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "--blocking-threads", "4", \
     "--blocking-threads-idle-timeout", "600", "--workers-kill-timeout", "15", \
     "--respawn-failed-workers", "pointsystem.wsgi:application"]
