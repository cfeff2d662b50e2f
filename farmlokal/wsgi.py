"""Django for any WSGI server. asgi.py runs it in its threads, too."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

from farmlokal.mysql.limits import limit_waits

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")

application = get_wsgi_application()
limit_waits()
