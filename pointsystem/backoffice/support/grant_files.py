"""Reading a file of grants: every line becomes a row, or says what is wrong with it. Nothing is kept here."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.utils.translation import gettext as _

from ledger import clock, policies
from ledger.errors import ValidationRefused
from pointsystem.api.fields import MOST_POINTS, is_account_number, utc_instant

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_ROWS: Final = 20_000
#: More errors than this are not listed; the file is wrong as a whole then.
MOST_ERRORS: Final = 200

REQUIRED: Final = ("account_number", "points", "reason")
OPTIONAL: Final = ("reference", "expires_at")
NEVER: Final = "never"

_POINTS: Final = re.compile(r"[0-9]{1,10}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOST_AHEAD: Final = timedelta(days=3653)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """What is wrong with one line; `field` is empty when it is the line as a whole. Line 0 is the file."""

    line: int
    field: str
    code: str
    detail: str


class FileRefused(Exception):
    """Nothing of the file is taken: `errors` says why, line by line."""

    def __init__(self, errors: Sequence[LineError]) -> None:
        super().__init__(f"{len(errors)} errors")
        self.errors = errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    line: int
    account_number: str
    points: int
    reason: str
    reference: str | None
    #: The row has an expiry of its own; `expires_at` None is never.
    has_expiry: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFile:
    rows: Sequence[Row]
    #: Over the values of all rows with their lines: however they were spelled.
    digest: str

    @property
    def points(self) -> int:
        return sum(row.points for row in self.rows)

    @property
    def accounts(self) -> int:
        return len({row.account_number for row in self.rows})


def read(*, content: bytes) -> GrantFile:
    """The rows of a CSV file in UTF-8 with a heading. Raises FileRefused with every error."""
    if len(content) > MOST_BYTES:
        raise _refused("too_large", _("The file has more than %d bytes.") % MOST_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("not_utf8", _("The file is not text in UTF-8.")) from None
    if "\x00" in text:
        raise _refused("not_text", _("The file holds characters that no text has."))
    errors: list[LineError] = []
    rows: list[Row] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, values in _lines(text):
        if len(errors) >= MOST_ERRORS:
            break
        found = _row(line, values, errors)
        if found is None:
            continue
        same = (found.account_number, str(found.points), found.reason, found.reference or "")
        first = seen.setdefault(same, line)
        if first != line:
            detail = _("Line %d says the same: give them different references.") % first
            errors.append(LineError(line=line, field="", code="duplicate", detail=detail))
        rows.append(found)
    if errors:
        raise FileRefused(errors[:MOST_ERRORS])
    if not rows:
        raise _refused("empty", _("The file has a heading and no rows."))
    return GrantFile(rows=rows, digest=_digest(rows))


def _refused(code: str, detail: str, *, line: int = 0) -> FileRefused:
    return FileRefused([LineError(line=line, field="", code=code, detail=detail)])


def _lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values by column of each row that is not blank. Raises FileRefused."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = [name.strip().lower() for name in next(reader, [])]
        _check_heading(heading)
        count = 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MOST_ROWS:
                raise _refused("too_many_rows", _("The file has more than %d rows.") % MOST_ROWS)
            if len(cells) > len(heading):
                raise _refused(
                    "too_many_cells", _("This line has more cells than the heading."), line=reader.line_num
                )
            yield reader.line_num, {name: cell.strip() for name, cell in zip(heading, cells, strict=False)}
    except csv.Error as error:
        raise _refused("not_csv", str(error), line=reader.line_num) from error


def _check_heading(heading: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in heading]
    unknown = [name for name in heading if name not in (*REQUIRED, *OPTIONAL)]
    if missing:
        detail = _("The heading lacks: %s.") % ", ".join(missing)
        raise _refused("missing_columns", detail, line=1)
    if unknown or len(set(heading)) < len(heading):
        detail = _("The heading may have each of these once: %s.") % ", ".join((*REQUIRED, *OPTIONAL))
        raise _refused("unknown_columns", detail, line=1)


def _row(line: int, values: dict[str, str], errors: list[LineError]) -> Row | None:
    """The row of one line; None, and its errors, where something is wrong."""
    before = len(errors)

    def wrong(field: str, code: str, detail: str) -> None:
        errors.append(LineError(line=line, field=field, code=code, detail=detail))

    account_number = values.get("account_number", "")
    if not is_account_number(account_number):
        wrong("account_number", "bad_format", _("1 to 64 characters of A-Z a-z 0-9 . _ : -"))
    text = values.get("points", "")
    points = int(text) if _POINTS.fullmatch(text) else 0
    if not 1 <= points <= MOST_POINTS:
        wrong("points", "out_of_range", _("A whole number from 1 to %d, without separators.") % MOST_POINTS)
    reason = values.get("reason", "")
    try:
        policies.current().reason_for(code=reason, kind="earn")
    except ValidationRefused as refusal:
        wrong("reason", refusal.field_code, refusal.detail)
    reference = values.get("reference", "") or None
    if reference is not None and not is_account_number(reference):
        wrong("reference", "bad_format", _("1 to 64 characters of A-Z a-z 0-9 . _ : -"))
    has_expiry, expires_at = _expiry(values.get("expires_at", ""), wrong)
    if len(errors) > before:
        return None
    return Row(
        line=line,
        account_number=account_number,
        points=points,
        reason=reason,
        reference=reference,
        has_expiry=has_expiry,
        expires_at=expires_at,
    )


def _expiry(text: str, wrong: Callable[[str, str, str], None]) -> tuple[bool, datetime | None]:
    if not text:
        return False, None
    if text.lower() == NEVER:
        return True, None
    instant = _end_of_day(text) if _DAY.fullmatch(text) else utc_instant(text)
    now = clock.now()
    if instant is None:
        detail = _("A day (2027-12-31), a time with offset (2027-12-31T23:59:59+09:00), or “never”.")
        wrong("expires_at", "bad_format", detail)
    elif instant <= now:
        wrong("expires_at", "in_the_past", _("This is not in the future."))
    elif instant > now + _MOST_AHEAD:
        wrong("expires_at", "too_far_ahead", _("This is more than 10 years ahead."))
    return True, instant


def _end_of_day(text: str) -> datetime | None:
    """The start of the next day in the programme's time zone: lots are spendable before it."""
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    return datetime(day.year, day.month, day.day, tzinfo=clock.programme_zone()).astimezone(UTC)


def _digest(rows: Sequence[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        expiry = row.expires_at.isoformat() if row.expires_at else (NEVER if row.has_expiry else "")
        values = [row.line, row.account_number, row.points, row.reason, row.reference or "", expiry]
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()
