"""Roles are groups, and may do what the module says: after every `migrate` again."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission

from pointsystem.backoffice import roles

pytestmark = pytest.mark.django_db


def permissions_of(name: str) -> set[str]:
    return {
        f"{app}.{codename}"
        for app, codename in Permission.objects.filter(group__name=name).values_list(
            "content_type__app_label", "codename"
        )
    }


def test_the_migration_made_the_six_groups() -> None:
    assert set(Group.objects.values_list("name", flat=True)) >= set(roles.ROLE_NAMES)
    assert roles.ROLE_NAMES == ("support", "support lead", "operator", "approver", "finance", "auditor")


@pytest.mark.parametrize("role", roles.ROLES, ids=lambda role: role.name)
def test_a_group_has_what_its_role_says(role: roles.Role) -> None:
    given = permissions_of(role.name)

    plain = {name for name in role.permissions if not name.endswith("*")}
    assert plain <= given, "a role names a permission that does not exist"
    assert {name for name in given - plain if not name.startswith("cutover.view_")} == set()
    if "cutover.view_*" in role.permissions:
        assert {name for name in given if name.startswith("cutover.")} == {
            f"cutover.view_{model._meta.model_name}" for model in apps.get_app_config("cutover").get_models()
        }


def test_an_auditor_and_finance_change_nothing() -> None:
    for name in (roles.AUDITOR, roles.FINANCE):
        assert {given.split(".")[1].split("_")[0] for given in permissions_of(name)} == {"view"}


def test_nobody_grants_and_approves_the_cutover_by_role() -> None:
    """The two persons of a switch are two roles; a superuser alone holds both."""
    assert "backoffice.approve_cutover" not in permissions_of(roles.OPERATOR)
    assert "backoffice.operate_cutover" not in permissions_of(roles.APPROVER)


def test_every_own_permission_is_given_to_some_role() -> None:
    own = set(
        Permission.objects.filter(content_type__app_label="backoffice").values_list("codename", flat=True)
    )
    given = {name.split(".")[1] for role in roles.ROLES for name in role.permissions}
    assert own - given == set()


def test_settling_takes_back_what_was_added_and_leaves_other_groups_alone() -> None:
    extra = Permission.objects.get(codename="delete_user")
    own = Group.objects.create(name="night shift")
    own.permissions.add(extra)
    Group.objects.get(name=roles.AUDITOR).permissions.add(extra)

    roles.settle()

    assert "auth.delete_user" not in permissions_of(roles.AUDITOR)
    assert permissions_of("night shift") == {"auth.delete_user"}
