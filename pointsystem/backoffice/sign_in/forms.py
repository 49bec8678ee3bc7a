from typing import Any, Final

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.utils.translation import gettext_lazy as _

#: As of Django's users.
_MOST_NAME_CHARACTERS: Final = 150


class SignInForm(AdminAuthenticationForm):
    """A name that nobody can have is as wrong as any other; where attempts are counted it has no room."""

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if len(name) > _MOST_NAME_CHARACTERS:
            raise self.get_invalid_login_error()
        return name


class CodeForm(forms.Form):
    """The six digits that the authenticator app shows now."""

    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        widget=forms.TextInput(
            attrs={
                "inputmode": "numeric",
                "autocomplete": "one-time-code",
                "autofocus": True,
                "class": "code-field",
            }
        ),
    )

    def clean_code(self) -> str:
        code: Any = self.cleaned_data["code"].replace(" ", "")
        if not (code.isascii() and code.isdigit() and len(code) == 6):
            raise forms.ValidationError(_("A code has six digits."))
        return str(code)
