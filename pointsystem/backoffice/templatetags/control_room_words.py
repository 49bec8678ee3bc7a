"""How the control room writes what it measured; what is not known says so, and is never 0."""

import json
from typing import Any

from django import template
from django.utils.translation import gettext as _

from ledger import told as telling

register = template.Library()


@register.filter
def told(text: Any) -> str:
    """What the code said in English, in the language of the page."""
    return telling.told(str(text or ""))


@register.filter
def act_told(action: str) -> str:
    """What an act of the journal is called."""
    said = telling.told(action)
    return said if said != action else action.replace("_", " ")


@register.filter
def name_told(name: str) -> str:
    """What a check is called."""
    return telling.name_told(name)


@register.filter
def seconds(number: float | None) -> str:
    if number is None:
        return _("not known")
    if number < 1:
        return f"{number * 1000:.0f} ms"
    return f"{number:.1f} s" if number < 120 else countdown(round(number))


@register.filter
def milliseconds(number: float | None) -> str:
    return _("not known") if number is None else f"{number:,.1f} ms"


@register.filter
def known(number: Any) -> str:
    if number is None:
        return _("not known")
    if isinstance(number, int | float):
        return f"{number:,.10g}"
    return number if isinstance(number, str) else json.dumps(number)


@register.filter(name="json")
def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


@register.filter
def countdown(number: int) -> str:
    """Seconds as minutes and seconds, or hours before them."""
    minutes, left = divmod(max(0, number), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
