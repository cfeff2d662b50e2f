"""Django for any WSGI server. asgi.py runs it in its threads, too."""

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

# The server ends a statement that runs, or waits for a lock, too long. A request stops waiting for a silent server.
# manage.py has no such limits: migrations and bulk loads take long. MariaDB executes /*M! comments, MySQL /*!80000.
connections.settings["default"]["OPTIONS"] |= {
    "init_command": f"SET innodb_lock_wait_timeout = {STATEMENT_SECONDS}"
    f" /*M! , max_statement_time = {STATEMENT_SECONDS} */"
    f" /*!80000 , max_execution_time = {STATEMENT_SECONDS * 1000} */",
    "read_timeout": ANSWER_TIMEOUT_SECONDS,
    "write_timeout": ANSWER_TIMEOUT_SECONDS,
}
