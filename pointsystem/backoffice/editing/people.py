"""People and their roles: kept by superusers, seen by auditors."""

from typing import Any, Final

from axes.utils import reset as reset_lockout
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, SetUnusablePasswordMixin
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from pointsystem.backoffice import audit
from pointsystem.backoffice.editing.audited import REASON_FIELD, Audited
from pointsystem.backoffice.roles import ROLE_NAMES, title_of
from pointsystem.backoffice.sign_in import second_factor

_APPS: Final = ("auth", "backoffice", "cutover", "ledger")
#: Django's own names of permissions are English for ever: they are rows.
_VERBS: Final = {
    "view": gettext_lazy("see"),
    "add": gettext_lazy("add"),
    "change": gettext_lazy("change"),
    "delete": gettext_lazy("delete"),
}


def permission_in_words(permission: Permission) -> str:
    """What a permission allows, in the language of the page."""
    content = permission.content_type
    verb, _blank, _model = permission.codename.partition("_")
    model = content.model_class()
    if content.app_label == "backoffice" or verb not in _VERBS or model is None:
        return _(permission.name)
    return f"{model._meta.verbose_name}: {_VERBS[verb]}"


class NewPasswordForm(AdminPasswordChangeForm):
    """Django puts this help together before it knows the language of the page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "usable_password" in self.fields:
            self.fields["usable_password"].help_text = format_html(
                '{}<ul id="id_unusable_warning" class="messagelist"><li class="warning">{}</li></ul>',
                SetUnusablePasswordMixin.usable_password_help_text,
                _("If disabled, the current password for this user will be lost."),
            )


class PersonAdmin(Audited, UserAdmin):
    """People are never deleted, for the trail names them: they are made inactive."""

    subject_kind = "user"
    audited_fields = (
        "username",
        "first_name",
        "last_name",
        "email",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "user_permissions",
    )
    # What people may do comes from their roles: single permissions are given to a group of one's own.
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        (gettext_lazy("Roles"), {"fields": ("is_active", "is_staff", "groups", "is_superuser")}),
        (gettext_lazy("Times"), {"fields": ("last_login", "date_joined")}),
    )
    readonly_fields = ("last_login", "date_joined")
    change_form_template = "admin/person_change_form.html"
    change_password_form = NewPasswordForm
    list_display = ("username", "first_name", "last_name", "roles", "is_active", "is_superuser", "last_login")

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        if db_field.name == "groups":
            kwargs["widget"] = CheckboxSelectMultiple
            kwargs["help_text"] = ""
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[arg-type]
        if db_field.name == "groups" and field is not None:
            field.label_from_instance = lambda group: str(title_of(group.name))
        return field

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whoever only looks reads the roles as words."""
        found = super().get_fieldsets(request, obj)
        if self.has_change_permission(request, obj):
            return found
        return [
            (title, {"fields": ["roles" if name == "groups" else name for name in options["fields"]]})
            for title, options in found
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [*super().get_readonly_fields(request, obj), "roles"]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=gettext_lazy("roles"))
    def roles(self, user: User) -> str:
        return ", ".join(str(title_of(group.name)) for group in user.groups.all()) or "-"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [
            path(
                "<int:user_id>/reset-second-factor/",
                wrap(self.reset_second_factor),
                name="auth_user_reset_second_factor",
            ),
            path("<int:user_id>/unlock/", wrap(self.unlock), name="auth_user_unlock"),
            *super().get_urls(),
        ]

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if request.resolver_match and request.resolver_match.url_name == "auth_user_password_change":
            # Its hash is no value to keep: that it was set is all there is to say.
            self._record(request, "password_set", obj, None, None)
            return
        super().log_change(request, obj, message)

    def reset_second_factor(self, request: HttpRequest, user_id: int) -> HttpResponse:
        """Take a lost authenticator away: the next sign-in sets up another, where one is required."""
        user = self._person(request, user_id)
        if request.method == "POST":
            second_factor.remove(
                user=user, request=request, reason=request.POST.get(REASON_FIELD, "").strip()
            )
            messages.success(request, _("%(name)s has no authenticator any more.") % {"name": user})
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user_id]))
        return self._confirmation(
            request,
            user,
            title=_("Reset the second factor"),
            words=_("The authenticator of %(name)s stops working. Do it only when you know who asks.")
            % {"name": user},
            button=_("Reset"),
        )

    def unlock(self, request: HttpRequest, user_id: int) -> HttpResponse:
        """End the lockout after wrong passwords before its time."""
        user = self._person(request, user_id)
        if request.method == "POST":
            with transaction.atomic():
                count = reset_lockout(username=user.get_username())
                audit.record(
                    action="sign_in.unlocked",
                    subject_kind="user",
                    subject_id=user.get_username(),
                    reason=request.POST.get(REASON_FIELD, "").strip(),
                    before={"failed_attempts": count},
                    request=request,
                )
            messages.success(request, _("%(name)s can sign in again.") % {"name": user})
            return HttpResponseRedirect(reverse("admin:auth_user_change", args=[user_id]))
        return self._confirmation(
            request,
            user,
            title=_("Unlock the login"),
            words=_("Wrong passwords of %(name)s are forgotten, and the login is open at once.")
            % {"name": user},
            button=_("Unlock"),
        )

    def _person(self, request: HttpRequest, user_id: int) -> User:
        if not self.has_change_permission(request):
            raise PermissionDenied
        found = self.get_object(request, str(user_id))
        if found is None:
            raise PermissionDenied
        return found

    def _confirmation(self, request: HttpRequest, user: User, **words: Any) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "original": user, **words}
        return TemplateResponse(request, "admin/confirm.html", context)


class RoleAdmin(Audited, GroupAdmin):
    """The built-in roles are what the code says; groups of one's own can be made beside them."""

    subject_kind = "group"
    audited_fields = ("name", "permissions")
    readonly_fields = ("permissions_in_words",)
    # Boxes to tick, for Django's two lists cannot be used by everybody.
    filter_horizontal = ()
    list_display = ("name", "title")

    @admin.display(description=gettext_lazy("what it is"))
    def title(self, group: Group) -> str:
        return str(title_of(group.name))

    @admin.display(description=gettext_lazy("permissions"))
    def permissions_in_words(self, group: Group) -> str:
        found = group.permissions.select_related("content_type")
        return format_html_join("", "<div>{}</div>", sorted((permission_in_words(each),) for each in found))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Whoever only looks reads the permissions as words."""
        return ("name", "permissions" if self.has_change_permission(request, obj) else "permissions_in_words")

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        if db_field.name == "permissions":
            kwargs["widget"] = CheckboxSelectMultiple
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "permissions" and field is not None:
            # Of other apps there is nothing in the back office.
            field.queryset = field.queryset.filter(content_type__app_label__in=_APPS)
            field.label_from_instance = permission_in_words
        return field

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser) and (obj is None or obj.name not in ROLE_NAMES)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)


def register() -> None:
    for model, model_admin in ((User, PersonAdmin), (Group, RoleAdmin)):
        admin.site.unregister(model)
        admin.site.register(model, model_admin)
