"""The statements of the generator, on both servers.

Numbers are drawn by arithmetic that both have, so that a seed gives the same members on either. A cycle has
at most these rows, numbered by the order of time:

1 SV saves lot a · 2 SV saves lot b · 3 US uses `used` · 4 UC gives `back` back · 5 SC takes `taken` of lot b
6 US uses `again` · 7 US uses all that is left · 8 EX lapses lot a · 9 EX lapses lot b
"""

# Nothing but names and numbers of this module is put into its statements.
# ruff: noqa: S608

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_PRIME: Final = 2_147_483_647
_DAY: Final = 24 * 60 * 60
#: A cycle is over before its first lot can lapse by its type.
_LONGEST_CYCLE: Final = 300 * _DAY
_VALID_DAYS: Final = 365
#: The nightly job comes three hours after the end of the day.
_NIGHTLY: Final = 3 * 60 * 60
#: Most members do little, and a few do most: (of 100 members, times the average).
_EIGHTY: Final = 0.5
_EIGHTEEN: Final = 1.75
_TWO: Final = 12.5


def member_number(*, seed: int, number: int) -> str:
    """The key of a generated member; numbers begin with 1."""
    return f"G{seed:04d}-{number:09d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    vendor: str
    seed: int
    first_day: datetime
    seconds: int
    cycles_a_member: float
    flawed_share: float

    # --- words that differ between servers ---------------------------------------------------------
    @property
    def _is_postgresql(self) -> bool:
        return self.vendor == "postgresql"

    def _table(self, name: str) -> str:
        return f"legacy.{name}" if self._is_postgresql else name

    def _series(self, first: int, last: int, name: str) -> str:
        if self._is_postgresql:
            return f"(SELECT generate_series({first}::bigint, {last}::bigint) AS {name})"
        return f"(SELECT CAST(seq AS SIGNED) AS {name} FROM seq_{first}_to_{last})"

    def _div(self, number: str, by: str) -> str:
        return f"(({number}) {'/' if self._is_postgresql else 'DIV'} ({by}))"

    @property
    def _fence(self) -> str:
        """Has the server compute a level once, where it would put its formulas into those of the next."""
        return "OFFSET 0" if self._is_postgresql else "LIMIT 18446744073709551615"

    def _moment(self, seconds: str) -> str:
        start = f"'{self.first_day:%Y-%m-%d %H:%M:%S}'"
        if self._is_postgresql:
            return f"(TIMESTAMP {start} + ({seconds}) * INTERVAL '1 second')"
        return f"(TIMESTAMP({start}) + INTERVAL ({seconds}) SECOND)"

    def _text(self, *parts: str) -> str:
        return f"CONCAT({', '.join(parts)})"

    def _member(self, number: str) -> str:
        text = f"CAST({number} AS {'TEXT' if self._is_postgresql else 'CHAR'})"
        return self._text(f"'G{self.seed:04d}-'", f"LPAD({text}, 9, '0')")

    def _draw(self, salt: int, *, cycle: str = "cycle", member: str = "member") -> str:
        """A number from 0 below the prime, which nothing but member, cycle, salt and seed decides."""
        key = f"{member} * 7919 + {cycle} * 104729 + {self.seed * 15485863 + salt * 32452843}"
        mixed = f"MOD(MOD({key}, {_PRIME}) * 48271, {_PRIME})"
        # Squared: otherwise all draws of a cycle would be the same number moved along.
        return f"MOD(MOD({mixed} * {mixed}, {_PRIME}) * 16807 + {salt}, {_PRIME})"

    # --- drawing -----------------------------------------------------------------------------------
    def draw(self, *, first: int, last: int, after_lot: int, after_row: int) -> Iterator[str]:
        yield f"CREATE TEMPORARY TABLE GEN_CYCLE AS {self._cycles(first, last, after_lot)}"
        yield f"CREATE TEMPORARY TABLE GEN_ROW AS {self._rows(after_row)}"
        yield "CREATE INDEX IX_GEN_ROW ON GEN_ROW (cycle_no, step)"
        if self._is_postgresql:
            yield "ANALYZE GEN_ROW"

    def _cycles(self, first: int, last: int, after_lot: int) -> str:
        thousandths = max(0, round(self.cycles_a_member * 1000))
        weight = (
            f"CASE WHEN MOD(luck, 100) < 80 THEN {round(thousandths * _EIGHTY)}"
            f" WHEN MOD(luck, 100) < 98 THEN {round(thousandths * _EIGHTEEN)}"
            f" ELSE {round(thousandths * _TWO)} END"
        )
        most = int(self.cycles_a_member * _TWO) + 2
        luck = (
            f"SELECT member, {self._draw(1, cycle='0')} AS luck FROM {self._series(first, last, 'member')} s0"
        )
        # What is over of a thousandth becomes a whole cycle for that share of the members.
        number = f"GREATEST(1, {self._div(f'{weight} + MOD(luck, 997)', '1000')})"
        members = f"SELECT member, {number} AS cycles FROM ({luck}) s1"
        cycles = (
            "SELECT member, cycles, cycle,"
            f" CASE WHEN cycle < cycles - 1 THEN 9 ELSE 1 + MOD({self._draw(2)}, 6) END AS stops,"
            f" MOD({self._draw(3)}, 3) AS ending, {self._div(str(self.seconds), 'cycles')} AS slot"
            f" FROM ({members}) s2 JOIN {self._series(0, most, 'cycle')} s3 ON cycle < cycles"
        )
        return self._settle_cycles(cycles, after_lot)

    def _levels(self) -> list[str]:
        """The columns of a cycle, each level from those of the levels before it."""
        closed = "stops = 9"
        return [
            (
                "cycle * slot AS begins, LEAST(slot, "
                f"{_LONGEST_CYCLE}) AS span,"
                f" 10 + MOD({self._draw(4)}, 4991) AS a,"
                f" CASE WHEN stops >= 2 THEN 10 + MOD({self._draw(5)}, 1991) ELSE 0 END AS b,"
                # Lapsing within a cycle is for points that an event gave for a while.
                f" CASE WHEN {closed} AND ending = 0 THEN 1 ELSE 0 END AS lapses,"
                f" CASE WHEN MOD({self._draw(6)}, 20) = 0 THEN 1 ELSE 0 END AS is_for_ever"
            ),
            f"CASE WHEN stops >= 3 THEN 1 + MOD({self._draw(7)}, a + b - 1) ELSE 0 END AS used,"
            + self._times(),
            "LEAST(used, a) AS used_a, used - LEAST(used, a) AS used_b,"
            f" CASE WHEN stops >= 4 AND MOD({self._draw(8)}, 10) < 4"
            f" THEN 1 + MOD({self._draw(9)}, used) ELSE 0 END AS back," + self._lapsing(),
            "LEAST(back, used_b) AS back_b, back - LEAST(back, used_b) AS back_a",
            (
                "a - used_a + back_a AS left_a,"
                f" CASE WHEN stops >= 5 AND MOD({self._draw(10)}, 10) < 2"
                f" THEN MOD({self._draw(11)}, b - used_b + back_b + 1) ELSE 0 END AS taken"
            ),
            "b - used_b + back_b - taken AS left_b",
            (
                f"CASE WHEN stops >= 6 AND MOD({self._draw(12)}, 10) < 6"
                f" THEN MOD({self._draw(13)}, left_a + left_b + 1) ELSE 0 END AS again"
            ),
            "LEAST(again, left_a) AS again_a, again - LEAST(again, left_a) AS again_b",
            (
                "left_a - again_a AS rest_a, left_b - again_b AS rest_b,"
                f" CASE WHEN {closed} AND lapses = 0 THEN 1 ELSE 0 END AS empties"
            ),
            (
                f"CASE WHEN empties = 0 AND at_8 <= {self.seconds} THEN rest_a ELSE 0 END AS lapsed_a,"
                f" CASE WHEN empties = 0 AND at_9 <= {self.seconds} THEN rest_b ELSE 0 END AS lapsed_b"
            ),
        ]

    def _settle_cycles(self, cycles: str, after_lot: int) -> str:
        query = cycles
        for depth, level in enumerate(self._levels()):
            query = f"SELECT q{depth}.*, {level} FROM ({query} {self._fence}) q{depth}"
        number = "ROW_NUMBER() OVER (ORDER BY begins, member)"
        return f"SELECT z.*, {number} AS cycle_no, {after_lot} + 2 * {number} - 1 AS lot_a FROM ({query}) z"

    def _times(self) -> str:
        """Seven moments, each in its own tenth of the cycle; what lapses within it does so after them."""
        tenths = [
            f"begins + {self._div(f'span * ({100 * (step - 1)} + MOD({self._draw(20 + step)}, 80))', '1000')}"
            f" AS at_{step}"
            for step in range(1, 8)
        ]
        return ", ".join(tenths)

    def _lapsing(self) -> str:
        """When the lots lapse, and when the job takes them; a lot for ever has NULL for both."""
        end_a = f"({self._div('at_1', str(_DAY))} + {_VALID_DAYS + 1}) * {_DAY}"
        end_b = f"({self._div('at_2', str(_DAY))} + {_VALID_DAYS + 2}) * {_DAY}"

        def within(thousandths: int) -> str:
            return f"begins + {self._div(f'span * {thousandths}', '1000')}"

        def case(for_event: str, else_a: str) -> str:
            return f"CASE WHEN lapses = 1 THEN {for_event} WHEN is_for_ever = 1 THEN NULL ELSE {else_a} END"

        return ", ".join(
            [
                f"{case(within(750), end_a)} AS end_a",
                f"{case(within(850), end_b)} AS end_b",
                f"{case(within(800), f'{end_a} + {_NIGHTLY}')} AS at_8",
                f"{case(within(900), f'{end_b} + {_NIGHTLY}')} AS at_9",
            ]
        )

    def _rows(self, after_row: int) -> str:
        # step, when it is there, kind, points, balance after it
        after_6 = "rest_a + rest_b"
        steps = [
            (1, "stops >= 1", "'SV'", "a", "a"),
            (2, "stops >= 2", "'SV'", "b", "a + b"),
            (3, "used > 0", "'US'", "-used", "a + b - used"),
            (4, "back > 0", "'UC'", "back", "a + b - used + back"),
            (5, "taken > 0", "'SC'", "-taken", "left_a + left_b"),
            (6, "again > 0", "'US'", "-again", after_6),
            (7, f"empties = 1 AND {after_6} > 0", "'US'", f"-({after_6})", "0"),
            (8, "lapsed_a > 0", "'EX'", "-lapsed_a", "rest_b"),
            (9, "lapsed_b > 0", "'EX'", "-lapsed_b", "0"),
        ]
        union = " UNION ALL ".join(
            f"SELECT cycle_no, member, cycle, {step} AS step, {kind} AS kind, {points} AS points,"
            f" {balance} AS balance, at_{step} AS at FROM GEN_CYCLE WHERE {there}"
            for step, there, kind, points, balance in steps
        )
        number = f"{after_row} + ROW_NUMBER() OVER (ORDER BY at, member, cycle, step)"
        return f"SELECT u.*, {number} AS row_no FROM ({union}) u"

    # --- storing -----------------------------------------------------------------------------------
    def store(self) -> Iterator[str]:
        yield (
            f"INSERT INTO {self._table('PT_MBR')} (MBR_NO, REG_DTM)"
            f" SELECT {self._member('member')}, {self._moment('at_1')} FROM GEN_CYCLE WHERE cycle = 0"
        )
        for lot, points, rest, saved, ends, there in (
            ("lot_a", "a", "rest_a - lapsed_a", "at_1", "end_a", "stops >= 1"),
            ("lot_a + 1", "b", "rest_b - lapsed_b", "at_2", "end_b", "stops >= 2"),
        ):
            yield (
                f"INSERT INTO {self._table('PT_LOT')} (LOT_SEQ, MBR_NO, TYPE_CD, SAVE_AMT, REMAIN_AMT,"
                f" SAVE_DTM, EXPIRE_DTM, UPD_DTM) SELECT {lot}, {self._member('member')},"
                f" {self._type_code()}, {points}, CASE WHEN empties = 1 THEN 0 ELSE {rest} END,"
                f" {self._moment(saved)}, {self._moment(ends)}, {self._moment(saved)}"
                f" FROM GEN_CYCLE WHERE {there}"
            )
        yield self._store_rows()
        yield from self._store_shares()
        yield from self._flaws()

    def _type_code(self) -> str:
        return "CASE WHEN lapses = 1 THEN '13' WHEN is_for_ever = 1 THEN '14' ELSE '11' END"

    def _store_rows(self) -> str:
        type_code = (
            f"CASE WHEN r.kind = 'SV' THEN {self._type_code()}"
            " WHEN r.kind = 'US' THEN '21' WHEN r.kind IN ('UC', 'SC') THEN '31' END"
        )
        caller = (
            "CASE r.kind WHEN 'EX' THEN 'BATCH' WHEN 'US' THEN 'FRONT' WHEN 'SV' THEN"
            " CASE WHEN c.lapses = 1 THEN 'VOUCHER' ELSE 'ORDER' END ELSE 'ORDER' END"
        )
        trade = self._text("'T'", "r.member", "'-'", "r.cycle", "'-'", "r.step")
        return (
            f"INSERT INTO {self._table('PT_HIST')} (HIST_SEQ, MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT,"
            f" TRADE_NO, ORG_SEQ, REG_ID, REG_DTM) SELECT r.row_no, {self._member('r.member')}, r.kind,"
            f" {type_code}, r.points, r.balance, CASE WHEN r.kind IN ('SV', 'US') THEN {trade} END,"
            f" o.row_no, {caller}, {self._moment('r.at')}"
            " FROM GEN_ROW r JOIN GEN_CYCLE c ON c.cycle_no = r.cycle_no"
            " LEFT JOIN GEN_ROW o ON o.cycle_no = r.cycle_no"
            " AND o.step = CASE r.step WHEN 4 THEN 3 WHEN 5 THEN 2 END ORDER BY r.row_no"
        )

    def _store_shares(self) -> Iterator[str]:
        # step, place, lot, points: uses take lot a first, and cancels give back to lot b first.
        shares = [
            (1, "1", "lot_a", "a"),
            (2, "1", "lot_a + 1", "b"),
            (3, "1", "lot_a", "-used_a"),
            (3, "2", "lot_a + 1", "-used_b"),
            (4, "1", "lot_a + 1", "back_b"),
            (4, "2", "lot_a", "back_a"),
            (5, "1", "lot_a + 1", "-taken"),
            (6, "1", "lot_a", "-again_a"),
            (6, "2", "lot_a + 1", "-again_b"),
            (7, "1", "lot_a", "-rest_a"),
            (7, "2", "lot_a + 1", "-rest_b"),
            (8, "1", "lot_a", "-lapsed_a"),
            (9, "1", "lot_a + 1", "-lapsed_b"),
        ]
        for step, place, lot, points in shares:
            yield (
                f"INSERT INTO {self._table('PT_HIST_LOT')} (HIST_SEQ, ORD_NO, LOT_SEQ, AMT)"
                f" SELECT r.row_no, {place}, c.{lot}, {points} FROM GEN_CYCLE c"
                f" JOIN GEN_ROW r ON r.cycle_no = c.cycle_no AND r.step = {step} WHERE ({points}) <> 0"
            )

    # --- flaws -------------------------------------------------------------------------------------
    def _is_flawed(self, member: str = "member") -> str:
        return f"MOD({self._draw(30, cycle='0', member=member)}, 10000) < {round(self.flawed_share * 10000)}"

    def _flaws(self) -> Iterator[str]:
        """A third each: a lot that somebody topped up by hand, a saving that names no lot, a balance after a
        row that was never right."""
        if not self.flawed_share:
            return
        last = f"c.cycle = c.cycles - 1 AND {self._is_flawed('c.member')} AND MOD(c.member, 3)"
        joined = "SELECT r.row_no AS number FROM GEN_ROW r JOIN GEN_CYCLE c ON c.cycle_no = r.cycle_no"
        lots = f"SELECT c.lot_a AS number FROM GEN_CYCLE c WHERE {last} = 0"
        yield self._change("PT_LOT", "LOT_SEQ", lots, "REMAIN_AMT = REMAIN_AMT + 7")
        yield self._remove("PT_HIST_LOT", "HIST_SEQ", f"{joined} WHERE r.step = 1 AND {last} = 1")
        rows = f"{joined} WHERE r.step = 1 AND {last} = 2"
        yield self._change("PT_HIST", "HIST_SEQ", rows, "BAL_AMT = BAL_AMT + 7")

    # MariaDB would look at every row of the table for an IN with a query: here it is a join on both.
    def _change(self, table: str, key: str, numbers: str, change: str) -> str:
        name = self._table(table)
        if self._is_postgresql:
            return f"UPDATE {name} t SET {change} FROM ({numbers}) x WHERE t.{key} = x.number"
        return f"UPDATE {name} t JOIN ({numbers}) x ON t.{key} = x.number SET {change}"

    def _remove(self, table: str, key: str, numbers: str) -> str:
        name = self._table(table)
        if self._is_postgresql:
            return f"DELETE FROM {name} t USING ({numbers}) x WHERE t.{key} = x.number"
        return f"DELETE t FROM {name} t JOIN ({numbers}) x ON t.{key} = x.number"

    # --- around ------------------------------------------------------------------------------------
    def is_there(self) -> str:
        first = member_number(seed=self.seed, number=1)
        return f"SELECT 1 FROM {self._table('PT_MBR')} WHERE MBR_NO = '{first}'"

    def last_lot(self) -> str:
        return self._last("PT_LOT", "LOT_SEQ")

    def last_row(self) -> str:
        return self._last("PT_HIST", "HIST_SEQ")

    def _last(self, table: str, column: str) -> str:
        return f"SELECT COALESCE(MAX({column}), 0) FROM {self._table(table)}"

    def counts(self) -> str:
        flawed = f"(SELECT COUNT(*) FROM GEN_CYCLE WHERE cycle = 0 AND {self._is_flawed()})"
        lots = "(SELECT SUM(CASE WHEN stops >= 2 THEN 2 ELSE 1 END) FROM GEN_CYCLE)"
        return f"SELECT {lots}, (SELECT COUNT(*) FROM GEN_ROW), {flawed}"

    def forget(self) -> Iterator[str]:
        temporary = "" if self._is_postgresql else "TEMPORARY "
        yield f"DROP {temporary}TABLE GEN_ROW"
        yield f"DROP {temporary}TABLE GEN_CYCLE"

    def after_all(self) -> Iterator[str]:
        """Numbers go on behind those that were given here; the planner learns what is there now."""
        if not self._is_postgresql:
            yield "ANALYZE TABLE PT_MBR, PT_LOT, PT_HIST, PT_HIST_LOT"
            return
        for table, column in (("PT_LOT", "LOT_SEQ"), ("PT_HIST", "HIST_SEQ")):
            yield (
                f"SELECT setval(pg_get_serial_sequence('legacy.{table.lower()}', '{column.lower()}'),"
                f" GREATEST(MAX({column}), 1)) FROM legacy.{table}"
            )
            yield f"ANALYZE legacy.{table}"
        yield "ANALYZE legacy.PT_MBR"
        yield "ANALYZE legacy.PT_HIST_LOT"
