"""A pytest plugin that gives each xdist worker key names of its own in Redis, as pytest-django gives it a database.

addopts loads it, before Django reads the settings. Processes that tests start inherit the variable.
"""

import os

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["REDIS_KEY_PREFIX"] = f"farmlokal-{worker}"
