#!/usr/bin/env python
"""Django's command line for operators."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line
from django.db import OperationalError

from farmlokal.mysql.driver import ConnectError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
    except (OperationalError, ConnectError) as error:
        if not any(isinstance(one, ConnectError) for one in (error, error.__cause__)):
            raise
        sys.exit(f"farmlokal: {error.args[1]}")
