"""What gunicorn runs: Django's synchronous application in a bounded pool of threads.

The threads live as long as the worker, and so do their database connections; Django's own ASGI
handler would make a thread, and with it a connection, for every request.
"""

from __future__ import annotations

from a2wsgi import WSGIMiddleware

from farmlokal.wsgi import application as wsgi_application

THREADS_PER_WORKER = 16

application = WSGIMiddleware(wsgi_application, workers=THREADS_PER_WORKER)  # type: ignore[arg-type]
