"""The web server's way in. Refuses to serve where a system check of the house finds an error."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pointsystem.settings")

django_application = get_wsgi_application()

from pointsystem.api.wsgi import ApiBeforeDjango  # noqa: E402
from pointsystem.checks import refuse_errors  # noqa: E402
from pointsystem.embedded.processes import die_with_parent  # noqa: E402

application = ApiBeforeDjango(django_application)
refuse_errors()
# A serving process whose web server was killed would keep the port, and answer nobody.
die_with_parent()
