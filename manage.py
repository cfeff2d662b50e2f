#!/usr/bin/env python
"""Django's command-line door for operators."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "farmlokal.settings")
    os.environ.setdefault("REDIS_TIMEOUT_SECONDS", "1")  # no request waits for a command
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
