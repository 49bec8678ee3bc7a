"""The ledger in the admin: everything can be looked up, and what was posted can only be looked at.

Reasons are kept here; a policy is changed by adding its next version. Making clients and moving points
belong to the back office, which builds on these pages.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from ledger import client_activity, policies
from ledger.models import (
    Account,
    AccountStatusChange,
    ApiKey,
    Client,
    ClientActivity,
    Debt,
    Entry,
    InboxItem,
    Lot,
    Operation,
    OperationKind,
    Reason,
    ReasonPolicy,
)
from ledger.told import told

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

#: The last page that can be reached by number: nobody reads on, and nothing is counted.
_MOST_ROWS = 1000


class UncountedPaginator(_Paginator):
    """Pages without counting the table: tables of the ledger have millions of rows."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list[:_MOST_ROWS]
        return rows.count() if isinstance(rows, QuerySet) else len(rows)


class ReadOnlyAdmin(admin.ModelAdmin):
    """Looked at, never changed here: for superusers too."""

    paginator = UncountedPaginator
    show_full_result_count = False
    list_per_page = 50
    actions = None
    #: Of these the texts are ours, in English: they are shown in the language of the page.
    told_fields: tuple[str, ...] = ("last_error", "why")

    @admin.display(description=_("last error"))
    def last_error_told(self, row: Any) -> str:
        return told(row.last_error or "")

    @admin.display(description=_("why"))
    def why_told(self, row: Any) -> str:
        return told(row.why or "")

    @admin.display(description="ID", ordering="pk")
    def id_told(self, row: Any) -> Any:
        """Django calls a key that it did not make itself `Id`, in every language."""
        return row.pk

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = [self._shown(name) for name in super().get_list_display(request)]
        return ["id_told" if name == "id" else name for name in shown]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [self._shown(name) for name in super().get_fields(request, obj)]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), *(f"{name}_told" for name in self.told_fields)]

    def _shown(self, name: Any) -> Any:
        return f"{name}_told" if name in self.told_fields else name

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What is never edited has no history of edits."""
        raise Http404


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    list_display = ("account_number", "status", "balance", "next_expiry_at", "opened_at")
    search_fields = ("account_number__startswith",)
    search_help_text = _("The beginning of the account number")
    ordering = ("-id",)


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "state", "account_number", "points", "reference", "client", "recorded_at")
    list_select_related = ("client",)
    search_fields = ("id__exact", "idempotency_key__exact", "reference__exact")
    search_help_text = _("The id, the idempotency key or the reference")
    ordering = ("-id",)


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind", "account", "sequence", "points", "balance_after", "recorded_at")
    list_select_related = ("account",)
    search_fields = ("account__account_number__exact",)
    search_help_text = _("The account number")
    ordering = ("-id",)


@admin.register(Lot)
class LotAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "points", "reason", "earned_at", "expires_at")
    list_select_related = ("account", "reason")
    search_fields = ("account__account_number__exact",)
    search_help_text = _("The account number")
    ordering = ("-id",)


@admin.register(Debt)
class DebtAdmin(ReadOnlyAdmin):
    list_display = ("id", "account", "points", "operation", "recorded_at")
    list_select_related = ("account", "operation")
    ordering = ("-id",)


@admin.register(AccountStatusChange)
class AccountStatusChangeAdmin(ReadOnlyAdmin):
    list_display = ("account", "status", "note", "actor", "recorded_at")
    list_select_related = ("account",)
    ordering = ("-id",)


@admin.register(InboxItem)
class InboxItemAdmin(ReadOnlyAdmin):
    list_display = ("id", "account_number", "operation", "accepted_at", "attempts", "last_error")
    list_select_related = ("operation",)
    ordering = ("id",)


class PolicyForm(forms.ModelForm):
    """A version of a policy: its number follows from those before it, and nobody types it."""

    class Meta:
        model = ReasonPolicy
        fields = ("validity_days", "expiry_rounding", "restore", "grace_days", "clawback")

    #: The first policy of a new reason counts as given also when nothing of it was changed.
    is_first = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The heading of a column is no label to a screen reader.
        for field in self.fields.values():
            field.widget.attrs["aria-label"] = field.label

    def has_changed(self) -> bool:
        return self.is_first or super().has_changed()


class PolicyFormSet(forms.BaseInlineFormSet):
    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]
        form.is_first = i == 0 and self.instance.pk is None
        return form

    def save_new(self, form: Any, commit: bool = True) -> ReasonPolicy:
        # Two versions at once: the one that comes second waits here, and takes the next number.
        reason = Reason.objects.select_for_update().get(pk=self.instance.pk)
        latest = reason.policies.order_by("-version").first()
        form.instance.version = latest.version + 1 if latest else 1
        policy: ReasonPolicy = super().save_new(form, commit=commit)
        return policy


class PolicyInline(admin.TabularInline):
    """Versions that were are shown; the next one is added below them, one at a time."""

    model = ReasonPolicy
    form = PolicyForm
    formset = PolicyFormSet
    fields = (
        "version",
        "validity_days",
        "expiry_rounding",
        "restore",
        "grace_days",
        "clawback",
        "created_at",
    )
    readonly_fields = ("version", "created_at")
    ordering = ("version",)
    verbose_name_plural = _(
        "policy versions: the newest is in force, points keep the one they were earned under"
    )

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 1 if obj else 0

    def get_min_num(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        return 0 if obj else 1

    def get_max_num(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        if not self.has_add_permission(request, obj):
            return 0
        return obj.policies.count() + 1 if obj else 1

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReasonForm(forms.ModelForm):
    kinds = forms.MultipleChoiceField(
        label=_("Kinds"),
        help_text=_("The kinds of operation it may be given for"),
        choices=[choice for choice in OperationKind.choices if choice[0] != OperationKind.EXPIRE],
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        model = Reason
        fields = ("code", "label", "kinds", "is_active")


@admin.register(Reason)
class ReasonAdmin(admin.ModelAdmin):
    form = ReasonForm
    list_display = ("code", "label_told", "kinds_in_words", "is_active")
    ordering = ("code",)
    fields = ("code", "label", "kinds", "is_active")
    inlines = (PolicyInline,)
    actions = None

    @admin.display(description=_("label"))
    def label_told(self, reason: Reason) -> str:
        """The labels of the first reasons are ours; one that an operator wrote is as they wrote it."""
        return told(reason.label)

    @admin.display(description=_("kinds"))
    def kinds_in_words(self, reason: Reason) -> str:
        return ", ".join(str(OperationKind(kind).label) for kind in reason.kinds)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # Clients name a reason by its code, and operations keep it.
        return ("code",) if obj else ()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        policies.forget()


class ApiKeyInline(admin.TabularInline):
    """Keys are shown once, when they are made; here they are only seen."""

    model = ApiKey
    fields = ("prefix", "scopes", "created_at", "expires_at", "revoked_at")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _ActivityColumns:
    """What both lists of activities show. A call that says no points shows none, and not 0."""

    @admin.display(description=_("calls today"))
    def calls_today(self, activity: Any) -> int:
        return int(activity.calls_today)

    @admin.display(description=_("calls in 7 days"))
    def calls_7_days(self, activity: Any) -> int:
        return int(activity.calls_7_days)


_ACTIVITY_FIELDS = (
    "operation",
    "last_called_at",
    "calls_today",
    "calls_7_days",
    "calls",
    "refused",
    "points",
)


@admin.register(ClientActivity)
class ClientActivityAdmin(_ActivityColumns, ReadOnlyAdmin):
    list_display = ("client", *_ACTIVITY_FIELDS)
    list_display_links = None
    list_filter = ("operation",)
    search_fields = ("client__name__startswith",)
    search_help_text = _("The beginning of the client's name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClientActivity]:
        return client_activity.activities()


class ClientActivityInline(_ActivityColumns, admin.TabularInline):
    """When the client last called what, on its own page."""

    model = ClientActivity
    fields = _ACTIVITY_FIELDS
    readonly_fields = fields
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClientActivity]:
        return client_activity.activities()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):
    list_display = ("name", "is_built_in", "requests_per_minute", "created_at")
    fields = ("name", "is_built_in", "requests_per_minute")
    readonly_fields = ("name", "is_built_in")
    inlines = (ApiKeyInline, ClientActivityInline)
    ordering = ("name",)
    actions = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
