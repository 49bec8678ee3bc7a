"""What the back office adds to the admin, and takes out of it.

Each area's pages are registered by importing its module here.
"""

from django.apps import apps
from django.contrib import admin
from django_otp.plugins.otp_totp.models import TOTPDevice

from pointsystem.backoffice.editing import clients, people, reasons, trail
from pointsystem.backoffice.finance import pages as finance
from pointsystem.backoffice.support import pages as support

__all__ = ["finance", "support", "trail"]

if apps.is_installed("cutover"):
    # It reads and acts through the cutover, which may be left out.
    from pointsystem.backoffice.control_room import pages as control_room

    __all__ += ["control_room"]

people.register()
clients.register()
reasons.register()
# The secret of a second factor is nobody's to read: it is reset on the page of the person.
admin.site.unregister(TOTPDevice)
