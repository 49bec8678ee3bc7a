"""Makes what tests need, each time new: nothing is flushed between tests, so names are never reused."""

from typing import Any
from uuid import uuid4

import factory
from factory.django import DjangoModelFactory

from ledger import clock, policies
from ledger.commands import Adjust, Cancel, Earn, Spend, Transfer
from ledger.identifiers import uuid7
from ledger.models import Client, Operation, Reason, ReasonPolicy


def account_number() -> str:
    return f"m-{uuid4().hex[:12]}"


def idempotency_key() -> str:
    return str(uuid4())


class ClientFactory(DjangoModelFactory[Client]):
    class Meta:
        model = Client

    name = factory.LazyFunction(lambda: f"client-{uuid4().hex[:12]}")


class ReasonFactory(DjangoModelFactory[Reason]):
    """A reason with the first version of its policy: `policy__restore="grace"` and the like."""

    class Meta:
        model = Reason
        skip_postgeneration_save = True

    code = factory.LazyFunction(lambda: f"R{uuid4().hex[:12].upper()}")
    label = "A reason of a test"
    kinds = factory.LazyFunction(lambda: ["earn", "adjust"])

    @factory.post_generation
    def policy(self, create: bool, extracted: Any, **kwargs: Any) -> None:
        ReasonPolicy.objects.create(
            reason=self, version=1, **{"validity_days": 365, "expiry_rounding": "none"} | kwargs
        )
        policies.forget()


class OperationFactory(DjangoModelFactory[Operation]):
    """The bare row of an operation, as no rule would have made it."""

    class Meta:
        model = Operation

    id = factory.LazyFunction(uuid7)
    client = factory.SubFactory(ClientFactory)
    idempotency_key = factory.LazyFunction(idempotency_key)
    fingerprint = b""
    kind = "earn"
    state = "pending"
    account_number = factory.LazyFunction(account_number)
    points = 10
    recorded_at = factory.LazyFunction(clock.now)


class _CommandFactory(factory.Factory[Any]):
    class Meta:
        abstract = True

    client_id = factory.LazyFunction(lambda: ClientFactory().id)
    idempotency_key = factory.LazyFunction(idempotency_key)


class EarnFactory(_CommandFactory):
    class Meta:
        model = Earn

    account_number = factory.LazyFunction(account_number)
    points = 100
    reason = "ORDER_REWARD"


class SpendFactory(_CommandFactory):
    class Meta:
        model = Spend

    account_number = factory.LazyFunction(account_number)
    points = 10
    reason = "ORDER_PAYMENT"


class CancelFactory(_CommandFactory):
    class Meta:
        model = Cancel


class TransferFactory(_CommandFactory):
    class Meta:
        model = Transfer

    from_account_number = factory.LazyFunction(account_number)
    to_account_number = factory.LazyFunction(account_number)
    points = 10
    reason = "GIFT"


class AdjustFactory(_CommandFactory):
    class Meta:
        model = Adjust

    account_number = factory.LazyFunction(account_number)
    points = 10
    reason = "CORRECTION"
