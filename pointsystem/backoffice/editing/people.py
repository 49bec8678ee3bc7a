"""People and their roles: kept by superusers, seen by auditors."""

from typing import Any

from axes.utils import reset as reset_lockout
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.forms import CheckboxSelectMultiple
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from pointsystem.backoffice import audit
from pointsystem.backoffice.editing.audited import REASON_FIELD, Audited
from pointsystem.backoffice.roles import ROLE_NAMES
from pointsystem.backoffice.sign_in import second_factor


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
    list_display = ("username", "first_name", "last_name", "roles", "is_active", "is_superuser", "last_login")

    def formfield_for_manytomany(
        self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any
    ) -> Any:
        if db_field.name == "groups":
            kwargs["widget"] = CheckboxSelectMultiple
            kwargs["help_text"] = ""
        return super().formfield_for_manytomany(db_field, request, **kwargs)  # type: ignore[arg-type]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description=gettext_lazy("roles"))
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())

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
