"""Plain Django, for any WSGI server; also what asgi.py runs in its threads."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")

REQUEST_READ_TIMEOUT_SECONDS = 5

application = get_wsgi_application()

# A request never waits longer than this for a silent MySQL. Only here: a migration or a bulk load
# run by manage.py takes as long as it takes.
connections.settings["default"]["OPTIONS"] |= {
    "read_timeout": REQUEST_READ_TIMEOUT_SECONDS,
    "write_timeout": REQUEST_READ_TIMEOUT_SECONDS,
}
