"""python callers.py THREADS SECONDS [UNTIL]: a process in which so many threads ask for the access token at the same
moment, once, or again and again until then (wall clock). Prints what became of it as JSON."""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django


def main(threads: int, starts: float, until: float, wait: float) -> None:
    from accounts.tokens import get_access_token  # noqa: PLC0415  # once Django is set up
    from farmlokal.http.problems import Problem  # noqa: PLC0415

    def ask(_: int) -> tuple[list[str], list[float], set[str]]:
        found, waits, failures = set(), [], set()
        time.sleep(max(starts - time.time(), 0))
        while True:
            began = time.monotonic()
            try:
                found.add(get_access_token(began + wait))
            except Problem as problem:
                failures.add(problem.code)
            waits.append(time.monotonic() - began)
            if time.time() >= until:
                return sorted(found), waits, failures
            time.sleep(0.01)

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(ask, range(threads)))
    tokens = sorted({token for found, _, _ in results for token in found})
    failures = sorted({code for _, _, codes in results for code in codes})
    waits = [wait for _, waits, _ in results for wait in waits]
    json.dump({"tokens": tokens, "failures": failures, "longest": max(waits), "calls": len(waits)}, sys.stdout)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), *map(float, sys.argv[2:5]))
