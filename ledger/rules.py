"""The rules that hold at the door whoever decides behind it: times, reasons, what can be cancelled at all."""

from ledger.operations._cancel import DEFAULT_REASON as DEFAULT_CANCEL_REASON
from ledger.operations._cancel import points_to_cancel
from ledger.operations._desk import Target
from ledger.operations._validity import check_occurred_at, expiry_of

__all__ = ["DEFAULT_CANCEL_REASON", "Target", "check_occurred_at", "expiry_of", "points_to_cancel"]
