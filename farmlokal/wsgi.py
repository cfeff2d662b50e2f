"""Plain Django, for any WSGI server; also what asgi.py runs in its threads."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections

from farmlokal.mysql.watchdog import watchdog

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")

ANSWER_TIMEOUT_SECONDS = 3
STATEMENT_SECONDS = 2

application = get_wsgi_application()

watchdog.is_on = True

# How long a statement may run, or wait for a lock, before the server ends it, and how long a request waits for
# a server that has gone silent. Only here: a migration or a bulk load by manage.py takes as long as it takes.
# MariaDB and MySQL each read the part of the comment that is theirs.
connections.settings["default"]["OPTIONS"] |= {
    "init_command": f"SET innodb_lock_wait_timeout = {STATEMENT_SECONDS}"
    f" /*M! , max_statement_time = {STATEMENT_SECONDS} */"
    f" /*!80000 , max_execution_time = {STATEMENT_SECONDS * 1000} */",
    "read_timeout": ANSWER_TIMEOUT_SECONDS,
    "write_timeout": ANSWER_TIMEOUT_SECONDS,
}
