"""Whether the database still refuses what it must: its own catalogue against models and migrations.

The list of what must be there is not kept by hand: constraints, keys and indexes come from the models,
triggers and functions from the SQL files of the migrations, in their order. A guard that was dropped,
disabled, left unvalidated or rewritten is a breach even while all rows are right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection, models

from ledger.models import INSERT_ONLY_TABLES
from ledger.verification.collector import Collector

CHECKS = {
    "constraint_is_there_and_validated": (
        "I20",
        "every named constraint of the models exists, is enforced and was validated",
    ),
    "foreign_key_is_there_and_validated": (
        "I20",
        "every relation of the models is a validated foreign key",
    ),
    "column_is_not_null": ("I20", "columns that must have a value refuse NULL"),
    "index_is_there_and_valid": ("I20", "every named index of the models exists and is valid"),
    "trigger_is_there_and_enabled": (
        "I20",
        "every trigger of the migrations exists, as it was written, and fires",
    ),
    "function_is_as_written": ("I20", "the guarding functions are those of the migrations"),
    "triggers_are_not_bypassed": ("I20", "sessions of this database fire triggers"),
    "insert_only_by_privilege": (
        "I19",
        "the application's role can neither change nor delete what was posted",
    ),
}

_SQL_DIRECTORY = Path(__file__).resolve().parents[1] / "migrations" / "sql"

_TRIGGER = re.compile(
    r"(?P<drop>DROP TRIGGER (?:IF EXISTS )?(?P<dropped>\w+))"
    r"|CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER (?P<name>\w+)\s+(?P<moment>BEFORE|AFTER)\s+"
    r"(?P<events>[A-Z ]+?)\s+ON\s+(?P<table>\w+)(?P<rest>.*?)EXECUTE FUNCTION (?P<function>\w+)\(",
    re.DOTALL,
)
_FUNCTION = re.compile(
    r"CREATE (?:OR REPLACE )?FUNCTION (?P<name>\w+)\([^)]*\).*?\$\$(?P<body>.*?)\$\$", re.DOTALL
)
_EVENT_BITS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    name: str
    table: str
    function: str
    #: pg_trigger.tgtype: row level, moment and events in one number.
    type_bits: int


def wanted_triggers() -> dict[str, Trigger]:
    """The triggers that the migrations leave behind, by name."""
    triggers: dict[str, Trigger] = {}
    for text in _migrations():
        for found in _TRIGGER.finditer(text):
            if found["drop"]:
                triggers.pop(found["dropped"], None)
                continue
            bits = 1 if "FOR EACH ROW" in found["rest"] else 0
            bits |= 2 if found["moment"] == "BEFORE" else 0
            bits |= sum(bit for event, bit in _EVENT_BITS.items() if event in found["events"])
            triggers[found["name"]] = Trigger(
                name=found["name"], table=found["table"], function=found["function"], type_bits=bits
            )
    return triggers


def wanted_functions() -> dict[str, str]:
    """The bodies of the functions that the migrations leave behind, by name."""
    return {found["name"]: found["body"] for text in _migrations() for found in _FUNCTION.finditer(text)}


def check_guards(*, collector: Collector) -> str | None:
    """Note every guard that is missing or weakened. Returns why privileges could not be judged, or None."""
    _check_constraints(collector)
    _check_columns(collector)
    _check_indexes(collector)
    _check_triggers(collector)
    _check_functions(collector)
    return _check_privileges(collector)


def _migrations() -> Iterator[str]:
    for path in sorted(_SQL_DIRECTORY.glob("*.sql")):
        if not path.stem.endswith("_reverse"):
            yield path.read_text()


def _models() -> list[type[models.Model]]:
    return [model for model in apps.get_app_config("ledger").get_models() if model._meta.managed]


def _rows(statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or [])
        return list(cursor.fetchall())


def _tables() -> list[str]:
    return [model._meta.db_table for model in _models()]


def _check_constraints(collector: Collector) -> None:
    # From PostgreSQL 18 on a constraint can be there and not be enforced.
    enforced = "c.conenforced" if connection.cursor().connection.info.server_version >= 180000 else "true"
    found = _rows(
        f"SELECT c.conrelid::regclass::text, c.conname, c.contype::text, c.convalidated AND {enforced},"  # noqa: S608
        " ARRAY(SELECT attname::text FROM pg_attribute"
        " WHERE attrelid = c.conrelid AND attnum = ANY (c.conkey)),"
        " c.confrelid::regclass::text"
        " FROM pg_constraint AS c WHERE c.conrelid = ANY (%s::regclass[])",
        [_tables()],
    )
    by_name = {(table, name): is_good for table, name, _, is_good, _, _ in found}
    keys = {
        (table, columns[0], target): is_good
        for table, _, kind, is_good, columns, target in found
        if kind == "f"
    }
    for model in _models():
        table = model._meta.db_table
        for constraint in model._meta.constraints:
            if _is_index(constraint):
                continue
            _note_state(
                collector,
                "constraint_is_there_and_validated",
                by_name.get((table, constraint.name)),
                table=table,
                constraint=constraint.name,
            )
        for field in model._meta.local_concrete_fields:
            target = field.related_model
            is_kept = getattr(field, "db_constraint", True)
            if isinstance(field, models.ForeignKey) and is_kept and isinstance(target, type):
                _note_state(
                    collector,
                    "foreign_key_is_there_and_validated",
                    keys.get((table, field.column, target._meta.db_table)),
                    table=table,
                    column=field.column,
                    refers_to=target._meta.db_table,
                )


def _is_index(constraint: models.BaseConstraint) -> bool:
    """A unique constraint over some of the rows is kept by PostgreSQL as an index alone."""
    return isinstance(constraint, models.UniqueConstraint) and constraint.condition is not None


def _note_state(collector: Collector, check: str, is_good: bool | None, **numbers: Any) -> None:
    if not is_good:
        collector.note(
            check, **numbers, state="missing" if is_good is None else "not validated or not enforced"
        )


def _check_columns(collector: Collector) -> None:
    nullable = set(
        _rows(
            "SELECT attrelid::regclass::text, attname::text FROM pg_attribute"
            " WHERE attrelid = ANY (%s::regclass[]) AND attnum > 0 AND NOT attnotnull AND NOT attisdropped",
            [_tables()],
        )
    )
    for model in _models():
        for field in model._meta.local_concrete_fields:
            # A composite key has no column of its own.
            if not field.null and (model._meta.db_table, field.column) in nullable:
                collector.note("column_is_not_null", table=model._meta.db_table, column=field.column)


def _check_indexes(collector: Collector) -> None:
    found = dict(
        _rows(
            "SELECT indexrelid::regclass::text, indisvalid AND indisready FROM pg_index"
            " WHERE indrelid = ANY (%s::regclass[])",
            [_tables()],
        )
    )
    named = {
        index.name: model._meta.db_table
        for model in _models()
        for index in [*model._meta.indexes, *filter(_is_index, model._meta.constraints)]
    }
    for name, table in named.items():
        _note_state(collector, "index_is_there_and_valid", found.get(name), table=table, index=name)
    for name, is_valid in found.items():
        if not is_valid and name not in named:
            _note_state(collector, "index_is_there_and_valid", False, index=name)


def _check_triggers(collector: Collector) -> None:
    found = {
        (table, name): (function, bits, enabled)
        for table, name, function, bits, enabled in _rows(
            "SELECT tgrelid::regclass::text, tgname::text, proname::text, tgtype::integer, tgenabled::text"
            " FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE tgrelid = ANY (%s::regclass[])",
            [_tables()],
        )
    }
    wanted = wanted_triggers()
    for trigger in wanted.values():
        there = found.get((trigger.table, trigger.name))
        if there is None:
            state = "missing"
        elif there[2] not in ("O", "A"):
            state = "disabled"
        elif there[:2] != (trigger.function, trigger.type_bits):
            state = "not as the migration wrote it"
        else:
            continue
        collector.note("trigger_is_there_and_enabled", table=trigger.table, trigger=trigger.name, state=state)
    for (table, name), (_, _, enabled) in found.items():
        # Foreign keys live on triggers of their own, which can be switched off too.
        if enabled not in ("O", "A") and name not in wanted:
            collector.note("trigger_is_there_and_enabled", table=table, trigger=name, state="disabled")


def _check_functions(collector: Collector) -> None:
    wanted = wanted_functions()
    found = dict(
        _rows(
            "SELECT proname::text, prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"
            " WHERE nspname = 'public' AND proname = ANY (%s)",
            [list(wanted)],
        )
    )
    for name, body in wanted.items():
        if found.get(name, "").strip() != body.strip():
            state = "rewritten" if name in found else "missing"
            collector.note("function_is_as_written", function=name, state=state)
    (mode,) = _rows("SELECT current_setting('session_replication_role')")[0]
    if mode != "origin":
        collector.note("triggers_are_not_bypassed", session_replication_role=mode)


def _check_privileges(collector: Collector) -> str | None:
    role = settings.DATABASES["default"].get("USER") or connection.settings_dict.get("USER") or ""
    rows = _rows(
        "SELECT rolsuper, (SELECT count(*) FROM pg_class WHERE oid = ANY (%s::regclass[])"
        " AND pg_has_role(pg_roles.oid, relowner, 'MEMBER')) FROM pg_roles WHERE rolname = %s",
        [list(INSERT_ONLY_TABLES), role],
    )
    if not rows:
        return f"there is no role {role!r} in this database"
    is_superuser, owned = rows[0]
    if is_superuser or owned:
        return (
            f"the application's role {role!r} owns the tables or is a superuser, so that only triggers"
            " stand in its way; set MIGRATE_DATABASE_URL to let another role own them"
        )
    for table, privilege in _rows(
        "SELECT name, privilege FROM unnest(%s::text[]) AS name,"
        " unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS privilege"
        " WHERE has_table_privilege(%s, name, privilege)"
        " UNION ALL SELECT name, 'UPDATE of a column' FROM unnest(%s::text[]) AS name"
        " WHERE has_any_column_privilege(%s, name, 'UPDATE') AND NOT has_table_privilege(%s, name, 'UPDATE')",
        [list(INSERT_ONLY_TABLES), role, list(INSERT_ONLY_TABLES), role, role],
    ):
        collector.note("insert_only_by_privilege", role=role, table=table, may=privilege)
    return None
