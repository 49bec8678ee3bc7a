from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.models.accounts import Account
from ledger.models.operations import Operation
from ledger.models.reasons import Reason, ReasonPolicy


class EntryKind(models.TextChoices):
    EARN = "earn", _("earn")
    SPEND = "spend", _("spend")
    EARN_CANCEL = "earn_cancel", _("earn cancel")
    SPEND_CANCEL = "spend_cancel", _("spend cancel")
    EXPIRE = "expire", _("expire")
    TRANSFER_OUT = "transfer_out", _("transfer out")
    TRANSFER_IN = "transfer_in", _("transfer in")
    ADJUST = "adjust", _("adjust")
    CLAWBACK = "clawback", _("clawback")


ADDING_KINDS = [EntryKind.EARN, EntryKind.SPEND_CANCEL, EntryKind.TRANSFER_IN]
TAKING_KINDS = [
    EntryKind.SPEND,
    EntryKind.EARN_CANCEL,
    EntryKind.EXPIRE,
    EntryKind.TRANSFER_OUT,
    EntryKind.CLAWBACK,
]


class Entry(models.Model):
    """One immutable line: signed points of one account, and the balance after it."""

    id = models.UUIDField(_("id"), primary_key=True)
    # What is posted together refers to each other without foreign keys of the database: triggers check
    # it, once per statement (docs/adr/0013-no-locks-on-shared-rows.md).
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="entries",
        db_index=False,
        db_constraint=False,
        verbose_name=_("account"),
    )
    sequence = models.BigIntegerField(_("sequence"))
    operation = models.ForeignKey(
        Operation,
        on_delete=models.PROTECT,
        related_name="entries",
        db_constraint=False,
        verbose_name=_("operation"),
    )
    kind = models.CharField(_("kind"), max_length=16, choices=EntryKind.choices)
    points = models.BigIntegerField(_("points"))
    balance_after = models.BigIntegerField(_("balance after"))
    recorded_at = models.DateTimeField(_("recorded at"))
    posted_at = models.DateTimeField(_("posted at"))

    class Meta:
        db_table = "ledger_entry"
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        constraints = [
            models.UniqueConstraint(
                fields=["account", "sequence"], name="entry_sequence_is_unique_per_account"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=ADDING_KINDS, points__gt=0)
                | Q(kind__in=TAKING_KINDS, points__lt=0)
                | (Q(kind=EntryKind.ADJUST) & ~Q(points=0)),
                name="entry_sign_matches_kind",
            ),
            models.CheckConstraint(
                condition=Q(balance_after__gte=0), name="entry_balance_after_not_negative"
            ),
            models.CheckConstraint(condition=Q(sequence__gte=1), name="entry_sequence_is_positive"),
        ]
        indexes = [
            # What was posted since: rows lie in the order in which they were posted, so a few bytes for many
            # of them suffice, and an insert costs next to nothing.
            BrinIndex(fields=["posted_at"], name="entry_by_posting", autosummarize=True, pages_per_range=32),
        ]

    def __str__(self) -> str:
        return f"{EntryKind(self.kind).label} {self.points:+d}"


class Lot(models.Model):
    """The points that one earning granted, with the instant at which what is left of them lapses."""

    id = models.UUIDField(_("id"), primary_key=True)
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="lots",
        db_index=False,
        db_constraint=False,
        verbose_name=_("account"),
    )
    entry = models.ForeignKey(
        Entry,
        on_delete=models.PROTECT,
        related_name="granted_lots",
        db_index=False,
        db_constraint=False,
        verbose_name=_("entry"),
    )
    points = models.BigIntegerField(_("points"))
    earned_at = models.DateTimeField(_("earned at"))
    expires_at = models.DateTimeField(_("expires at"), null=True)
    reason = models.ForeignKey(
        Reason,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("reason"),
    )
    policy = models.ForeignKey(
        ReasonPolicy,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("policy"),
    )
    # The lot whose points these were: after a transfer, or given back with days of grace.
    origin = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="derived",
        db_index=False,
        verbose_name=_("origin"),
    )

    class Meta:
        db_table = "ledger_lot"
        verbose_name = _("lot")
        verbose_name_plural = _("lots")
        constraints = [
            models.CheckConstraint(condition=Q(points__gt=0), name="lot_points_are_positive"),
            models.CheckConstraint(condition=~Q(origin=F("id")), name="lot_is_not_its_own_origin"),
        ]
        indexes = [
            # As-of reads and cursor pages of all lots.
            models.Index(fields=["account", "expires_at"], name="lot_by_account_and_expiry"),
            models.Index(fields=["origin"], name="lot_by_origin", condition=Q(origin__isnull=False)),
        ]

    def __str__(self) -> str:
        if self.expires_at is None:
            return gettext("%d points that never expire") % self.points
        return gettext("%(points)d points until %(at)s") % {
            "points": self.points,
            "at": timezone.localtime(self.expires_at).strftime("%Y-%m-%d %H:%M"),
        }


class Allocation(models.Model):
    """How many points of an entry touch which lot, signed: their sum over the entry is its points."""

    pk = models.CompositePrimaryKey("entry_id", "position")
    entry = models.ForeignKey(
        Entry,
        on_delete=models.PROTECT,
        related_name="allocations",
        db_index=False,
        db_constraint=False,
        verbose_name=_("entry"),
    )
    position = models.IntegerField(_("position"))
    lot = models.ForeignKey(
        Lot, on_delete=models.PROTECT, related_name="allocations", db_constraint=False, verbose_name=_("lot")
    )
    points = models.BigIntegerField(_("points"))

    class Meta:
        db_table = "ledger_allocation"
        verbose_name = _("allocation")
        verbose_name_plural = _("allocations")
        constraints = [
            models.CheckConstraint(condition=~Q(points=0), name="allocation_points_not_zero"),
            models.CheckConstraint(condition=Q(position__gte=0), name="allocation_position_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.points:+d}"


class Debt(models.Model):
    """Points that a cancelled earn still owes: positive when incurred, negative when settled."""

    id = models.UUIDField(_("id"), primary_key=True)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="debts", verbose_name=_("account")
    )
    operation = models.ForeignKey(
        Operation, on_delete=models.PROTECT, related_name="debts", verbose_name=_("operation")
    )
    # The clawback entry that settled it; null when it was incurred.
    entry = models.ForeignKey(
        Entry,
        on_delete=models.PROTECT,
        null=True,
        related_name="settled_debts",
        db_index=False,
        verbose_name=_("entry"),
    )
    points = models.BigIntegerField(_("points"))
    recorded_at = models.DateTimeField(_("recorded at"))

    class Meta:
        db_table = "ledger_debt"
        verbose_name = _("debt")
        verbose_name_plural = _("debts")
        constraints = [
            models.CheckConstraint(
                condition=Q(entry__isnull=True, points__gt=0) | Q(entry__isnull=False, points__lt=0),
                name="debt_is_incurred_or_settled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.points:+d}"


class OpenLot(models.Model):
    """Projection: what remains in each lot that is not used up. Rows at zero are deleted, so
    spending costs the same however long the history is."""

    # A projection refers without foreign keys of the database: `verify_ledger` compares all of it.
    lot = models.OneToOneField(
        Lot,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="open_lot",
        db_constraint=False,
        verbose_name=_("lot"),
    )
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="open_lots",
        db_index=False,
        db_constraint=False,
        verbose_name=_("account"),
    )
    remaining = models.BigIntegerField(_("remaining"))
    points = models.BigIntegerField(_("points"))
    earned_at = models.DateTimeField(_("earned at"))
    expires_at = models.DateTimeField(_("expires at"), null=True)

    class Meta:
        db_table = "ledger_open_lot"
        verbose_name = _("open lot")
        verbose_name_plural = _("open lots")
        constraints = [
            models.CheckConstraint(condition=Q(remaining__gt=0), name="open_lot_remaining_is_positive"),
            models.CheckConstraint(
                condition=Q(remaining__lte=F("points")), name="open_lot_remaining_within_points"
            ),
        ]
        indexes = [
            # The order of spending: soonest expiry first, never-expiring last, oldest, lowest id.
            models.Index(
                fields=["account", "expires_at", "earned_at", "lot"], name="open_lot_in_spending_order"
            ),
            # What the expire job looks for.
            models.Index(
                fields=["expires_at"], name="open_lot_by_expiry", condition=Q(expires_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.remaining} of {self.points}"


class StaleBalance(models.Model):
    """The durable mark that the balance in Redis may be older than `sequence` of the account."""

    account = models.OneToOneField(
        Account,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="stale_balance",
        db_constraint=False,
        verbose_name=_("account"),
    )
    sequence = models.BigIntegerField(_("sequence"))
    marked_at = models.DateTimeField(_("marked at"))

    class Meta:
        db_table = "ledger_stale_balance"
        verbose_name = _("stale balance")
        verbose_name_plural = _("stale balances")

    def __str__(self) -> str:
        return f"{self.account_id} at {self.sequence}"
