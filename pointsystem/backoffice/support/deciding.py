"""Who decides for an account now: what the pages can tell depends on it."""

from django.conf import settings


def legacy_decides(*, account_number: str) -> bool:
    """Whether another side than the ledger decides for this account. A hint, as for all reading."""
    if settings.POINTS_FACE != "cutover.face":
        return False
    # Without a legacy the cutover may not be installed at all.
    from cutover import routes

    return routes.hint().legacy_decides
