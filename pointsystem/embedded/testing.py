"""The databases that tests work on: one for each pytest process, made by the owner's role, used by the other.

The servers are embedded ones, or those of DATABASE_URL, REDIS_URL and CELERY_BROKER_URL. On given servers
nothing is touched but databases and roles named `points_test_*`, and the Redis databases 2 and up.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pointsystem.embedded.stack import APPLICATION_ROLE, OWNER_ROLE, Stack

FIRST_REDIS_DATABASE = 2
GIVEN = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")


@dataclass(frozen=True, kw_only=True)
class TestServers:
    """Where test databases are made: by `maker_url`, for the roles of `owner_url` and `application_url`."""

    __test__ = False

    maker_url: str
    owner_url: str
    application_url: str
    redis_url: str
    roles_to_drop: tuple[str, ...] = ()

    def environment(self, *, worker: str) -> dict[str, str]:
        """The settings of one pytest process; `worker` is xdist's name of it (`gw0`), or empty."""
        database = f"points_test_{os.environ['POINTS_TEST_RUN']}{'_' + worker if worker else ''}"
        number = int(worker.removeprefix("gw")) if worker else 0
        first = FIRST_REDIS_DATABASE + 2 * number
        return {
            "POINTS_STACK": "test",
            "DATABASE_URL": _with_path(self.application_url, database),
            "MIGRATE_DATABASE_URL": _with_path(self.owner_url, database),
            "REDIS_URL": _with_path(self.redis_url, str(first)),
            "CELERY_BROKER_URL": _with_path(self.redis_url, str(first + 1)),
        }


def embedded_servers(stack: Stack) -> TestServers:
    environment = stack.environment()
    return TestServers(
        maker_url=stack.postgres.url("postgres", stack.postgres.superuser_password, "postgres"),
        owner_url=environment["MIGRATE_DATABASE_URL"],
        application_url=environment["DATABASE_URL"],
        redis_url=environment["REDIS_URL"],
    )


def given_servers() -> TestServers:
    """The servers of the URLs in the environment.

    With MIGRATE_DATABASE_URL both roles are taken as they are. With DATABASE_URL alone its role must be
    allowed to create roles: the two roles of the tests are made, and dropped at the end.
    """
    missing = [name for name in GIVEN if not os.environ.get(name)]
    if missing:
        raise LookupError(f"With DATABASE_URL set, tests also need {', '.join(missing)}.")
    given = os.environ["DATABASE_URL"]
    owner = os.environ.get("MIGRATE_DATABASE_URL", "")
    redis_url = os.environ["REDIS_URL"]
    if owner:
        return TestServers(maker_url=owner, owner_url=owner, application_url=given, redis_url=redis_url)
    run = os.environ["POINTS_TEST_RUN"]
    roles = {
        role: f"{role.replace('points_', 'points_test_')}_{run}" for role in (OWNER_ROLE, APPLICATION_ROLE)
    }
    password = secrets.token_urlsafe(16)
    with psycopg.connect(given, autocommit=True) as connection:
        for role in roles.values():
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), password)
            )
    return TestServers(
        maker_url=given,
        owner_url=_with_user(given, roles[OWNER_ROLE], password),
        application_url=_with_user(given, roles[APPLICATION_ROLE], password),
        redis_url=redis_url,
        roles_to_drop=tuple(roles.values()),
    )


def create_database(*, maker_url: str, url: str, owner_url: str) -> None:
    """Make the database of `url` anew, owned by the role of `owner_url`."""
    name, owner = urlsplit(url).path.lstrip("/"), urlsplit(owner_url).username or ""
    with psycopg.connect(maker_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        )


def drop_database(*, maker_url: str, url: str) -> None:
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(maker_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_roles(servers: TestServers) -> None:
    with psycopg.connect(servers.maker_url, autocommit=True) as connection:
        for role in servers.roles_to_drop:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))


def _with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))
