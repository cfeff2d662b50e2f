"""Plain Django, for any WSGI server; also what asgi.py runs in its threads."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")

ANSWER_TIMEOUT_SECONDS = 3

application = get_wsgi_application()

# How long a request waits for each answer of a MySQL that has gone silent. Only here: a migration or
# a bulk load by manage.py takes as long as it takes.
connections.settings["default"]["OPTIONS"] |= {
    "read_timeout": ANSWER_TIMEOUT_SECONDS,
    "write_timeout": ANSWER_TIMEOUT_SECONDS,
}
