from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

#: Operations that no caller asked for (expiry) belong to this client.
SYSTEM_CLIENT = "system"
#: Operations of support staff in the admin belong to this client.
BACK_OFFICE_CLIENT = "back-office"
#: Operations that no call of the API made, but rows of a legacy, belong to this client. They are shared:
#: whoever may read accounts finds them, and may cancel them.
LEGACY_CLIENT = "legacy"


class Scope(models.TextChoices):
    READ = "points:read", _("read balances, lots and history")
    EARN = "points:earn", _("earn")
    SPEND = "points:spend", _("spend")
    CANCEL = "points:cancel", _("cancel")
    TRANSFER = "points:transfer", _("transfer")
    ANY_OPERATION = "operations:any", _("operations of every client")


class Client(models.Model):
    """A service that calls the API. Idempotency keys and operations belong to it."""

    id = models.AutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=64, unique=True)
    is_built_in = models.BooleanField(_("built in"), default=False)
    # Null: no limit.
    requests_per_minute = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "ledger_client"
        verbose_name = _("client")
        verbose_name_plural = _("clients")
        constraints = [
            models.CheckConstraint(
                condition=Q(name__regex=r"^[A-Za-z0-9._:-]{1,64}$"), name="client_name_is_an_identifier"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key of a client. Only its digest is kept; the key itself is shown once, when it is made."""

    id = models.AutoField(primary_key=True)
    client = models.ForeignKey(
        Client, on_delete=models.PROTECT, related_name="api_keys", verbose_name=_("client")
    )
    prefix = models.CharField(_("prefix"), max_length=16, unique=True)
    # SHA-256 of the whole key: the secret has 256 random bits, so a slow hash would add nothing.
    digest = models.BinaryField(_("digest"), max_length=32)
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope.choices), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)

    class Meta:
        db_table = "ledger_api_key"
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values), name="api_key_scopes_are_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"


class ClientActivity(models.Model):
    """How much a client used one operation of the API so far, and when last. Written every few seconds."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey(
        Client, on_delete=models.PROTECT, related_name="activities", verbose_name=_("client"), db_index=False
    )
    # The name of the endpoint, or `none` for an address that is not there.
    operation = models.CharField(_("operation"), max_length=64)
    calls = models.BigIntegerField(_("calls"))
    refused = models.BigIntegerField(_("refused"))
    # Null where a call does not say how many points it moves.
    points = models.BigIntegerField(_("points"), null=True)
    last_called_at = models.DateTimeField(_("last called at"))

    class Meta:
        db_table = "ledger_client_activity"
        verbose_name = _("client activity")
        verbose_name_plural = _("client activities")
        constraints = [
            models.UniqueConstraint(fields=["client", "operation"], name="client_activity_is_unique"),
            models.CheckConstraint(
                condition=Q(refused__gte=0, calls__gte=models.F("refused")),
                name="client_activity_refused_among_calls",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} {self.operation}"


class ClientActivityDay(models.Model):
    """The same for one day of the programme's time zone."""

    id = models.BigAutoField(primary_key=True)
    client = models.ForeignKey(
        Client, on_delete=models.PROTECT, related_name="+", db_index=False, verbose_name=_("client")
    )
    operation = models.CharField(_("operation"), max_length=64)
    day = models.DateField(_("day"))
    calls = models.BigIntegerField(_("calls"))
    refused = models.BigIntegerField(_("refused"))
    points = models.BigIntegerField(_("points"), null=True)

    class Meta:
        db_table = "ledger_client_activity_day"
        verbose_name = _("client activity of a day")
        verbose_name_plural = _("client activities by day")
        constraints = [
            models.UniqueConstraint(
                fields=["client", "operation", "day"], name="client_activity_day_is_unique"
            ),
            models.CheckConstraint(
                condition=Q(refused__gte=0, calls__gte=models.F("refused")),
                name="client_activity_day_refused_among_calls",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.client_id} {self.operation} {self.day}"
