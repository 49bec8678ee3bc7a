"""The forms of the desk. A form carries the key of what it will do, signed, from the moment it is shown."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from django import forms
from django.contrib.auth.models import User
from django.core import signing
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.models import Reason
from ledger.told import told
from pointsystem.api.fields import MOST_POINTS, is_account_number
from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import BY_POLICY, NEVER, STATUS_OF, Move

_SALT: Final = "backoffice.support.form"
#: A form that lay open longer must be opened anew.
FORM_SECONDS: Final = 24 * 60 * 60
_MOST_DAYS_AHEAD: Final = 3653

#: The kinds of operation that a reason must be for.
_REASON_KINDS: Final[dict[MoveKind, tuple[str, ...]]] = {
    MoveKind.GRANT: ("earn",),
    MoveKind.DEDUCT: ("spend",),
    MoveKind.TRANSFER: ("transfer",),
}


class FormExpired(Exception):
    """The form was not made by us, for another person, or too long ago."""


def new_token(*, kind: MoveKind, person: User) -> str:
    """The signed key of a form that is shown to `person` now."""
    return signing.dumps([str(uuid4()), kind.value, person.pk], salt=_SALT)


def key_of_token(token: str, *, kind: MoveKind, person: User) -> UUID:
    """The key in `token`. Raises FormExpired."""
    try:
        key, made_for, made_by = signing.loads(token, salt=_SALT, max_age=FORM_SECONDS)
        if (made_for, made_by) != (kind.value, person.pk):
            raise FormExpired
        return UUID(key)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise FormExpired from error


class _ReasonField(forms.ChoiceField):
    """A reason from the list that the operator keeps, as it stands when the form is shown."""

    def __init__(self, *, kinds: tuple[str, ...]) -> None:
        super().__init__(label=_("Reason"), choices=lambda: _reasons(kinds))


def _reasons(kinds: tuple[str, ...]) -> list[tuple[str, Any]]:
    found = Reason.objects.filter(is_active=True, kinds__contains=list(kinds)).order_by("code")
    return [
        ("", _("choose one")),
        *((reason.code, f"{told(reason.label)} ({reason.code})") for reason in found),
    ]


def identifier(value: str) -> None:
    """Raises ValidationError for what the API would not take as a number or reference either."""
    if not is_account_number(value):
        raise ValidationError(_("1 to 64 characters of A-Z a-z 0-9 . _ : -"), code="bad_format")


class _MoveForm(forms.Form):
    """What every form of the desk has: a reference and a note, and its key."""

    kind: MoveKind
    token = forms.CharField(widget=forms.HiddenInput, max_length=500)
    reference = forms.CharField(
        label=_("Reference"),
        required=False,
        max_length=64,
        validators=[identifier],
        help_text=_("The ticket or order that this belongs to."),
    )
    note = forms.CharField(
        label=_("Note"), max_length=500, help_text=_("What happened, for whoever reads this later.")
    )

    def __init__(self, *args: Any, account_number: str, person: User, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._account_number = account_number
        self._person = person

    def move(self) -> Move:
        """The values as a move. Raises FormExpired; only for a valid form."""
        values = self.cleaned_data
        return Move(
            kind=self.kind,
            key=key_of_token(values["token"], kind=self.kind, person=self._person),
            account_number=self._account_number,
            reference=values["reference"] or None,
            note=values["note"],
            **self._more(values),
        )

    def _more(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {}


def _points_field() -> forms.IntegerField:
    return forms.IntegerField(
        label=_("Points"),
        min_value=1,
        max_value=MOST_POINTS,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )


class GrantForm(_MoveForm):
    kind = MoveKind.GRANT
    points = _points_field()
    reason = _ReasonField(kinds=_REASON_KINDS[MoveKind.GRANT])
    expiry = forms.ChoiceField(
        label=_("Expiry"),
        choices=[
            (BY_POLICY, _("as the reason says")),
            ("on", _("at the end of the day below")),
            (NEVER, _("never")),
        ],
        initial=BY_POLICY,
    )
    expires_on = forms.DateField(
        label=_("Last day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    field_order = ("points", "reason", "expiry", "expires_on", "reference", "note", "token")

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        day = values.get("expires_on")
        if values.get("expiry") != "on":
            return values
        today = clock.now().astimezone(clock.programme_zone()).date()
        if day is None:
            self.add_error("expires_on", ValidationError(_("Name the day."), code="missing"))
        elif not today <= day <= today + timedelta(days=_MOST_DAYS_AHEAD - 2):
            wrong = _("From today on, and no more than 10 years ahead.")
            self.add_error("expires_on", ValidationError(wrong, code="out_of_range"))
        return values

    def _more(self, values: Mapping[str, Any]) -> dict[str, Any]:
        expires_at = values["expiry"]
        if expires_at == "on":
            day = values["expires_on"] + timedelta(days=1)
            midnight = datetime(day.year, day.month, day.day, tzinfo=clock.programme_zone())
            expires_at = midnight.astimezone(UTC).isoformat()
        return {"points": values["points"], "reason": values["reason"], "expires_at": expires_at}


class DeductForm(_MoveForm):
    kind = MoveKind.DEDUCT
    points = _points_field()
    reason = _ReasonField(kinds=_REASON_KINDS[MoveKind.DEDUCT])
    field_order = ("points", "reason", "reference", "note", "token")

    def _more(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"points": values["points"], "reason": values["reason"]}


class TransferForm(_MoveForm):
    kind = MoveKind.TRANSFER
    to_account_number = forms.CharField(label=_("To account"), max_length=64, validators=[identifier])
    points = _points_field()
    reason = _ReasonField(kinds=_REASON_KINDS[MoveKind.TRANSFER])
    field_order = ("to_account_number", "points", "reason", "reference", "note", "token")

    def clean_to_account_number(self) -> str:
        value: str = self.cleaned_data["to_account_number"]
        if value == self._account_number:
            raise ValidationError(_("This is the same account."), code="same_account")
        return value

    def _more(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values[name] for name in ("to_account_number", "points", "reason")}


class CancelForm(_MoveForm):
    """Cancels a part or all that is left; how much is written down, so that a second try means the same."""

    kind = MoveKind.CANCEL
    points = _points_field()
    reason = forms.ChoiceField(label=_("Reason"))
    field_order = ("points", "reason", "reference", "note", "token")

    def __init__(self, *args: Any, operation_id: UUID, operation_kind: str, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._operation_id = operation_id
        field = self.fields["reason"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101
        field.choices = _reasons((f"{operation_kind}_cancel",))

    def _more(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "points": values["points"],
            "reason": values["reason"],
            "cancelled_operation_id": self._operation_id,
        }


class BlockForm(_MoveForm):
    kind = MoveKind.BLOCK
    field_order = ("reference", "note", "token")


class UnblockForm(BlockForm):
    kind = MoveKind.UNBLOCK


class CloseForm(BlockForm):
    kind = MoveKind.CLOSE


#: The form of each move of an account, by the name in its address. A cancel begins at its operation.
ACCOUNT_FORMS: Final[dict[str, type[_MoveForm]]] = {
    form.kind.value: form for form in (GrantForm, DeductForm, TransferForm, BlockForm, UnblockForm, CloseForm)
}
STATUS_KINDS: Final = frozenset(kind.value for kind in STATUS_OF)


class DecisionForm(forms.Form):
    note = forms.CharField(label=_("Note"), required=False, max_length=500)


class UploadForm(forms.Form):
    file = forms.FileField(
        label=_("CSV file"), widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"})
    )


class ConfirmMassGrantForm(forms.Form):
    note = forms.CharField(
        label=_("Note"), max_length=500, help_text=_("Why these grants are made, for whoever reads it later.")
    )
