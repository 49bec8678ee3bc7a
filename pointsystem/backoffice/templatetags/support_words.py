"""How the desk's pages write numbers and name things."""

from typing import Any, Final

from django import template
from django.contrib.auth.models import User
from django.forms import BoundField

from ledger import told as telling
from ledger.models import AccountStatus
from pointsystem.backoffice.support import words
from pointsystem.backoffice.support.models import RowState

register = template.Library()


@register.filter
def told(text: Any) -> str:
    """What the code said in English, in the language of the page."""
    return telling.told(str(text or ""))


@register.filter
def points(number: int | None) -> str:
    """Points with separators; what is not known is never 0."""
    return "–" if number is None else f"{number:,}".replace("-", "−")


@register.filter
def signed(number: int | None) -> str:
    """The same with its sign."""
    if number is None or number <= 0:
        return points(number)
    return f"+{number:,}"


@register.filter
def negated(number: int | None) -> int | None:
    return None if number is None else -number


@register.filter
def answer(field: BoundField) -> Any:
    """What was given in a field, as the form shows it."""
    value = field.value()
    choices = dict(getattr(field.field, "choices", ()))
    return choices.get(value, value)


@register.filter
def kind_word(kind: str) -> Any:
    return words.KINDS.get(kind, kind)


@register.filter
def state_word(state: str) -> Any:
    return words.STATES.get(state, state)


@register.filter
def status_word(status: str) -> Any:
    return AccountStatus(status).label


@register.filter
def row_word(state: str) -> Any:
    """The state of a row of a mass grant; whatever else somebody wrote into the address stays as it is."""
    return RowState(state).label if state in RowState.values else state


@register.filter
def refusal_words(refusal: dict[str, Any]) -> str:
    """A stored refusal, for people."""
    return words.of_code(str(refusal.get("code", "")), str(refusal.get("detail", "")))


_TONES: Final = {
    "good": ("open", "completed", "done", "granted"),
    "info": ("accepted", "pending", "running", "approved", "repeated"),
    "warn": ("blocked", "waiting", "previewed", "in_doubt"),
    "bad": ("closed", "failed", "rejected", "refused", "expired"),
}


@register.filter
def tone(state: str) -> str:
    """The class of a pill: what a state means for whoever looks."""
    return next((name for name, states in _TONES.items() if state in states), "")


@register.filter
def may(user: User, permission: str) -> bool:
    return user.has_perm(f"backoffice.{permission}")
