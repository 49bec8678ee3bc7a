"""Whether the cutover was right: what is there to show for it that no balance shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cutover import routes
from cutover.models import JournalEntry, MirrorMessage, Mismatch
from ledger.database import fetch_all
from pointsystem.demo.control import ControlRoom, Step
from pointsystem.demo.proofs import Proof, verdict
from pointsystem.demo.report_figures import percentile
from pointsystem.demo.story import AGES, Story
from pointsystem.demo.traffic import Measurements, Sent

#: Requests that were under way at most so long after a switch are counted to it.
_AFTERWARDS_SECONDS: Final = 1.0
_LEGACY_STAGES: Final = ("LEGACY_ONLY", "LEGACY_FIRST")
_EXAMPLES: Final = 5

#: Steps in which the side that decides, or follows, changed.
SWITCHES: Final = (
    "capture",
    "to LEGACY_FIRST",
    "freeze",
    "to NEW_FIRST, in the freeze",
    "thaw",
    "back to LEGACY_FIRST",
    "forward to NEW_FIRST",
    "to NEW_ONLY",
    "finish",
)
MONTHS: Final = ("month 1998-01", "month 1998-02", "month 1998-03")
VERIFICATIONS: Final = ("verification", "verification in the freeze")

_DECIDED: Final = """
SELECT stage, epoch, decided_elsewhere, count(*) FROM ledger_operation
WHERE stage IS NOT NULL AND state IN ('completed', 'failed') GROUP BY 1, 2, 3 ORDER BY 2
"""
# Points lapse in the legacy by its own job as long as it follows, and the ledger hears of it.
_TOLD: Final = """
SELECT message.direction, message.stage, message.epoch, count(*),
    count(*) FILTER (WHERE message.epoch <> operation.epoch OR message.stage <> operation.stage)
FROM cutover_message AS message JOIN ledger_operation AS operation ON operation.id = message.operation_id
WHERE NOT (message.direction = 'to_ledger' AND operation.kind = 'expire')
GROUP BY 1, 2, 3
"""
# Of messages that could be delivered when they were written: while somebody followed.
_LAGS: Final = """
SELECT direction, extract(epoch FROM settled_at - created_at)::float8 FROM cutover_message
WHERE state = 'applied' AND (direction, stage) IN (('to_ledger', 'LEGACY_FIRST'), ('to_legacy', 'NEW_FIRST'))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """What clients saw while a route was changed."""

    name: str
    requests: int
    p99_seconds: float
    worst_seconds: float


def prove(*, story: Story, is_part: bool) -> list[Proof]:
    """Every proof, in the order of the report. `is_part`: not all orders of the file were played."""
    control = story.control
    return [
        _switched(control),
        *(_both_sides(name, story) for name in ("in the freeze", "before NEW_ONLY")),
        _verified(control),
        _months(control),
        _epochs(),
        _nothing_owed(),
        _mismatches(),
        _cancels(story, is_part=is_part),
        _freeze(story),
    ]


def pauses(control: ControlRoom, measured: Measurements) -> list[Pause]:
    """By switch: the requests that were under way during it, or began in the second after and before the
    next one. Spends that a freeze refused are no part of it: they wait for its end, as they are told to."""
    steps = [step for name in SWITCHES if (step := control.step(name)) is not None]
    found = []
    for number, step in enumerate(steps):
        until = step.switch_ended + _AFTERWARDS_SECONDS
        if number + 1 < len(steps):
            until = max(step.switch_ended, min(until, steps[number + 1].switch_began))
        found.append(_pause(step, measured.sent, until=until))
    return found


def lags() -> Mapping[str, Sequence[float]]:
    """By direction: how long each operation was on its way to the side that followed, in seconds."""
    found: dict[str, list[float]] = {}
    for direction, seconds in fetch_all(_LAGS, []):
        found.setdefault(direction, []).append(seconds)
    return found


def _pause(step: Step, sent: Sequence[Sent], *, until: float) -> Pause:
    met = [
        one.seconds
        for one in sent
        if not one.met_freeze and one.ended >= step.switch_began and one.began <= until
    ]
    return Pause(
        name=step.name,
        requests=len(met),
        p99_seconds=percentile(met, 99) if met else 0.0,
        worst_seconds=max(met, default=0.0),
    )


def _switched(control: ControlRoom) -> Proof:
    missing = [name for name in SWITCHES if control.step(name) is None]
    journaled = JournalEntry.objects.filter(result="done").count()
    refused = JournalEntry.objects.exclude(result="done").count()
    route = routes.current()
    wrong = [f"{name} was not done" for name in missing]
    if not (route.is_finished and route.stage == "NEW_ONLY"):
        wrong.append(f"the route ends in {route.stage.value}")
    if journaled != len(SWITCHES):
        wrong.append(f"the journal has {journaled} acts")
    return verdict(
        "Every step was taken while services went on, and stands in the journal",
        f"{journaled:,} acts, refused {refused:,}; ends finished, in epoch {route.epoch}",
        wrong,
    )


def _both_sides(name: str, story: Story) -> Proof:
    sentence = f"Both sides were equal {name}: account by account, lot by lot"
    found = story.compared.get(name)
    if found is None:
        return Proof(sentence=sentence, holds=None, figures="they were not compared")
    wrong = list(found.different)
    if not found.lots:
        wrong.append("there was nothing to compare")
    return verdict(
        sentence,
        f"{found.accounts:,} accounts, {found.lots:,} lots, {found.ledger_points:,} points in the ledger and"
        f" {found.legacy_points:,} in the legacy, different {len(found.different):,}",
        wrong,
    )


def _verified(control: ControlRoom) -> Proof:
    return _by_command(
        "verify_migration found no difference after the migration, nor in the freeze",
        [control.step(name) for name in VERIFICATIONS],
    )


def _months(control: ControlRoom) -> Proof:
    return _by_command(
        "reconcile closed each month of both stages with a difference of 0",
        [control.step(name) for name in MONTHS],
    )


def _by_command(sentence: str, steps: Sequence[Step | None]) -> Proof:
    """Commands that end with 0 when both sides agree, with 1 when not; anything else tells nothing."""
    codes = [None if step is None else step.record.get("exit_code") for step in steps]
    figures = f"{codes.count(0)} of {len(codes)} without a difference"
    if any(code not in (0, 1) for code in codes):
        return Proof(sentence=sentence, holds=None, figures=f"{figures}; others ended with {codes}")
    wrong = [f"{step.name}: {str(step.record)[:300]}" for step in steps if step and step.record["exit_code"]]
    return verdict(sentence, figures, wrong)


def _epochs() -> Proof:
    """Each epoch is of one stage, as the journal says; in a freeze nobody decides; who decides in a stage is
    who decided the operation, and tells the other side."""
    stages, frozen = _epochs_of_journal()
    wrong = []
    decided = 0
    for stage, epoch, elsewhere, count in fetch_all(_DECIDED, []):
        decided += count
        is_right = stages.get(epoch) == stage and epoch not in frozen
        if not is_right or elsewhere != (stage in _LEGACY_STAGES):
            side = "the legacy" if elsewhere else "the ledger"
            wrong.append(f"{count:,} operations that {side} decided bear {stage}, epoch {epoch}")
    for direction, stage, epoch, count, other in fetch_all(_TOLD, []):
        if other:
            wrong.append(f"{other:,} messages bear another epoch than their operation ({stage}, {epoch})")
        if (direction == "to_ledger") != (stage in _LEGACY_STAGES):
            wrong.append(f"{count:,} messages go {direction} in {stage}, epoch {epoch}")
    if not decided:
        wrong.append("no operation bears an epoch")
    return verdict(
        "No operation was decided under a wrong epoch, or in a freeze",
        f"{decided:,} operations in {len(stages):,} epochs, wrong {len(wrong):,}",
        wrong,
    )


def _epochs_of_journal() -> tuple[dict[int, str], set[int]]:
    """By epoch its stage, and the epochs of a freeze."""
    stages, frozen = {1: "LEGACY_ONLY"}, set()
    is_frozen = False
    for entry in JournalEntry.objects.filter(result="done").order_by("id"):
        stages[entry.epoch] = entry.to_stage
        is_frozen = entry.action == "freeze" or (is_frozen and entry.action != "thaw")
        if is_frozen:
            frozen.add(entry.epoch)
    return stages, frozen


def _nothing_owed() -> Proof:
    """At the end, and of all stages that had somebody follow."""
    parked = MirrorMessage.objects.filter(state="parked").count()
    skipped = MirrorMessage.objects.filter(state="skipped").count()
    waiting = MirrorMessage.objects.filter(state="waiting", direction="to_ledger").count()
    # In NEW_ONLY nobody is told any more: these were kept for a way back.
    kept = MirrorMessage.objects.filter(state="waiting", direction="to_legacy").count()
    applied = MirrorMessage.objects.filter(state="applied").count()
    ((open_intents, in_doubt),) = fetch_all(
        "SELECT count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'in_doubt')"
        " FROM cutover_intent",
        [],
    )
    counted = {
        "parked": parked,
        "skipped": skipped,
        "waiting": waiting,
        "intents open": open_intents,
        "in doubt": in_doubt,
    }
    return verdict(
        "Nobody owes anybody anything: every operation was told to the side that followed",
        f"{applied:,} applied, {kept:,} kept in NEW_ONLY, "
        + ", ".join(f"{name} {count:,}" for name, count in counted.items()),
        [f"{count:,} {name}" for name, count in counted.items() if count] + _why_parked(),
    )


def _why_parked() -> list[str]:
    found = MirrorMessage.objects.filter(state="parked").order_by("id")[:_EXAMPLES]
    return [f"{one.account_number} {one.direction}: {one.last_error[:200]}" for one in found]


def _mismatches() -> Proof:
    found = Mismatch.objects.filter(resolved_at__isnull=True).order_by("id")
    return verdict(
        "No difference between both sides was recorded and left open",
        f"recorded {Mismatch.objects.count():,}, open {found.count():,}",
        [f"{one.account_number} {one.subject} ({one.difference}): {one.why}" for one in found[:_EXAMPLES]],
    )


def _cancels(story: Story, *, is_part: bool) -> Proof:
    """What was paid in an earlier age is given back in each later stage. A part of the orders may leave
    some of these without anybody who paid."""
    wanted = [
        ("procedures", "LEGACY_ONLY"),
        ("procedures", "LEGACY_FIRST"),
        ("LEGACY_ONLY", "LEGACY_FIRST"),
        *((age, "NEW_FIRST") for age, _, _ in AGES[:3]),
        ("NEW_FIRST", "LEGACY_FIRST"),
        *((age, "NEW_ONLY") for age, _, _ in AGES[:4]),
        *((age, "finished") for age, _, _ in AGES),
    ]
    done, asked = story.cancelled, story.to_cancel
    sentence = "What was paid in any stage, and before there was an API, was given back in every later one"
    wrong = [f"{age} in {stage}" for age, stage in asked if done[age, stage] != asked[age, stage]]
    without = [f"{age} in {stage}: nobody had paid" for age, stage in wanted if not asked[age, stage]]
    figures = f"{sum(done.values()):,} of {sum(asked.values()):,} cancels in {len(wanted)} pairs of stages"
    if without and not wrong and not is_part:
        return Proof(sentence=sentence, holds=None, figures=figures, examples=without[:_EXAMPLES])
    return verdict(sentence, f"{figures}, without one {len(without)}", wrong)


def _freeze(story: Story) -> Proof:
    freeze = story.freeze
    wrong = []
    if not freeze.in_inbox or not freeze.refused_spends:
        wrong.append("nothing met the freeze")
    if freeze.left_in_inbox:
        wrong.append(f"{freeze.left_in_inbox:,} are still in the inbox")
    if freeze.repeated_spends != freeze.refused_spends:
        wrong.append(f"{freeze.repeated_spends} of {freeze.refused_spends} spends were sent again")
    return verdict(
        "What queued in the freeze was done after it, and refused spends with the same keys",
        f"{freeze.in_inbox:,} queued, left {freeze.left_in_inbox:,};"
        f" {freeze.refused_spends:,} spends refused, sent again {freeze.repeated_spends:,}",
        wrong,
    )
