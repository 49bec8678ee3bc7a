"""Clients of the API and their keys: made, rotated with an overlap, and revoked. A key is shown once."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ledger.admin import ClientAdmin
from ledger.clients import ClientRefused, NewKey, create_client, revoke_client
from ledger.models import Client, Scope
from ledger.told import told
from pointsystem.backoffice import audit
from pointsystem.backoffice.editing.audited import REASON_FIELD, Audited

MANAGE = "backoffice.manage_clients"
_MOST_OVERLAP_HOURS: Final = 30 * 24
_ONCE: Final = "client_forms"


class KeyForm(forms.Form):
    """What a new key may do. `once` lets each form that was shown make one key at most."""

    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("What the key may do"),
        choices=Scope.choices,
        widget=forms.CheckboxSelectMultiple,
    )
    audit_reason = forms.CharField(label=gettext_lazy("Why (for the audit trail)"), max_length=500)
    once = forms.CharField(widget=forms.HiddenInput, max_length=32)


class NewClientForm(KeyForm):
    name = forms.RegexField(
        label=gettext_lazy("Name"),
        regex=r"\A[A-Za-z0-9._:-]{1,64}\Z",
        error_messages={"invalid": gettext_lazy("1 to 64 characters of A-Z a-z 0-9 . _ : -")},
        max_length=64,
    )
    requests_per_minute = forms.IntegerField(
        label=gettext_lazy("Requests per minute"),
        help_text=gettext_lazy("Empty: no limit"),
        min_value=1,
        max_value=2_147_483_647,
        required=False,
    )
    field_order = ("name", "scopes", "requests_per_minute", "audit_reason", "once")


class NextKeyForm(KeyForm):
    overlap_hours = forms.IntegerField(
        label=gettext_lazy("Older keys keep working for (hours)"),
        min_value=0,
        max_value=_MOST_OVERLAP_HOURS,
        initial=24,
    )
    field_order = ("scopes", "overlap_hours", "audit_reason", "once")


class NameTaken(Exception):
    """There is a client of that name, and making it again would end its keys."""


class AuditedClientAdmin(Audited, ClientAdmin):
    subject_kind = "client"
    audited_fields = ("name", "requests_per_minute")
    change_form_template = "admin/client_change_form.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MANAGE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE) and (obj is None or not obj.is_built_in)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:client_id>/next-key/", wrap(self.next_key), name="ledger_client_next_key"),
            path("<int:client_id>/revoke/", wrap(self.revoke), name="ledger_client_revoke"),
            *super().get_urls(),
        ]

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Make a client and its first key."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = NewClientForm(request.POST or None, initial={"once": _offer(request)})
        if request.method == "POST" and form.is_valid():
            if not _take(request, form):
                return self._sent_already(request, reverse("admin:ledger_client_changelist"))
            try:
                made = _make(request, form.cleaned_data)
            except NameTaken:
                form.add_error("name", _("There is a client of this name already: open it for its next key."))
            except ClientRefused as refusal:
                form.add_error(None, told(str(refusal)))
            else:
                return self._shown_once(request, made)
            _offer_again(request, form)
        return self._form(request, form, title=_("Make a client"), button=_("Make the client and its key"))

    def next_key(self, request: HttpRequest, client_id: int) -> HttpResponse:
        """Make the next key of a client; its older keys end after the overlap."""
        client = self._client(request, client_id)
        address = reverse("admin:ledger_client_change", args=[client_id])
        scopes = {scope for key in client.api_keys.filter(revoked_at=None) for scope in key.scopes}
        form = NextKeyForm(request.POST or None, initial={"once": _offer(request), "scopes": sorted(scopes)})
        if request.method == "POST" and form.is_valid():
            if not _take(request, form):
                return self._sent_already(request, address)
            return self._shown_once(request, _rotate(request, client, form.cleaned_data))
        return self._form(
            request,
            form,
            original=client,
            title=_("The next key of %(name)s") % {"name": client},
            button=_("Make the key"),
        )

    def revoke(self, request: HttpRequest, client_id: int) -> HttpResponse:
        """End all keys of a client at once."""
        client = self._client(request, client_id)
        if request.method == "POST":
            with transaction.atomic():
                before = _keys(client)
                count = revoke_client(name=client.name)
                audit.record(
                    action="client.revoked",
                    subject_kind="client",
                    subject_id=client.name,
                    reason=request.POST.get(REASON_FIELD, "").strip(),
                    before={"keys": before},
                    after={"keys": _keys(client)},
                    request=request,
                )
            messages.success(
                request, _("%(count)d keys of %(name)s were revoked.") % {"count": count, "name": client}
            )
            return HttpResponseRedirect(reverse("admin:ledger_client_change", args=[client_id]))
        words = _(
            "All keys of %(name)s stop working at once. Its operations stay, and a new key brings it back."
        )
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": client,
            "title": _("Revoke all keys of %(name)s") % {"name": client},
            "words": words % {"name": client},
            "button": _("Revoke"),
            "is_dangerous": True,
        }
        return TemplateResponse(request, "admin/confirm.html", context)

    def _client(self, request: HttpRequest, client_id: int) -> Client:
        client: Client | None = self.get_object(request, str(client_id))
        if not self.has_change_permission(request, client) or client is None:
            raise PermissionDenied
        return client

    def _form(self, request: HttpRequest, form: forms.Form, **values: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "form": form, **values}
        return TemplateResponse(request, "admin/client_key_form.html", context)

    def _shown_once(self, request: HttpRequest, made: NewKey) -> HttpResponse:
        """The answer to the form itself, which is kept nowhere: a redirect would have to carry the key."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("The key of %(name)s") % {"name": made.name},
            "made": made,
        }
        return TemplateResponse(request, "admin/client_key_made.html", context)

    def _sent_already(self, request: HttpRequest, address: str) -> HttpResponse:
        messages.warning(request, _("This form was sent already: no second key was made."))
        return HttpResponseRedirect(address)


def register() -> None:
    admin.site.unregister(Client)
    admin.site.register(Client, AuditedClientAdmin)


def _make(request: HttpRequest, values: dict[str, Any]) -> NewKey:
    """Raises NameTaken and ClientRefused, and then makes nothing."""
    with transaction.atomic():
        made = create_client(
            name=values["name"],
            scopes=values["scopes"],
            requests_per_minute=values["requests_per_minute"],
        )
        client = Client.objects.get(name=made.name)
        if client.api_keys.count() != 1:
            raise NameTaken(made.name)
        _record(request, "client.created", client, values, before=None)
    return made


def _rotate(request: HttpRequest, client: Client, values: dict[str, Any]) -> NewKey:
    with transaction.atomic():
        before = {"keys": _keys(client), "requests_per_minute": client.requests_per_minute}
        made = create_client(
            name=client.name, scopes=values["scopes"], overlap=timedelta(hours=values["overlap_hours"])
        )
        _record(request, "client.key_rotated", client, values, before=before)
    return made


def _record(
    request: HttpRequest, action: str, client: Client, values: dict[str, Any], *, before: Any
) -> None:
    audit.record(
        action=action,
        subject_kind="client",
        subject_id=client.name,
        reason=values[REASON_FIELD],
        before=before,
        after={"keys": _keys(client), "requests_per_minute": client.requests_per_minute},
        request=request,
    )


def _keys(client: Client) -> list[dict[str, Any]]:
    """The keys as the trail keeps them: by their public beginning, never more."""
    rows = client.api_keys.order_by("id").values("prefix", "scopes", "expires_at", "revoked_at")
    return [dict(row) for row in rows]


def _offer(request: HttpRequest) -> str:
    """A token that lets the form be sent once. The last few that were shown are kept."""
    if request.method != "GET":
        return ""
    token = get_random_string(22)
    request.session[_ONCE] = [*request.session.get(_ONCE, [])[-9:], token]
    return token


def _offer_again(request: HttpRequest, form: forms.Form) -> None:
    """The form was refused after its token was taken: it may be sent once more."""
    request.session[_ONCE] = [*request.session.get(_ONCE, [])[-9:], form.cleaned_data["once"]]


def _take(request: HttpRequest, form: forms.Form) -> bool:
    """Whether the form may be sent still; it may not after."""
    offered = list(request.session.get(_ONCE, []))
    token = form.cleaned_data["once"]
    if token not in offered:
        return False
    request.session[_ONCE] = [each for each in offered if each != token]
    request.session.save()
    return True
