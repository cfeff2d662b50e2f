"""python -m dev.upgrades: fails if a new migration cannot run beside the release before, and says why."""

from __future__ import annotations

import sys

import django

if __name__ == "__main__":
    django.setup()
    from dev.upgrades.check import all_refusals

    sys.exit("\n".join(all_refusals()) or None)
