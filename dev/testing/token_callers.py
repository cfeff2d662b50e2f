"""python -m dev.testing.token_callers THREADS SECONDS WAIT: threads that ask for our access token at the same moment.

Prints "ready", and begins when it reads a line. Each thread asks once, or repeatedly for SECONDS, with a deadline of
WAIT seconds. The last line of output is JSON: the tokens and the codes of the problems.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import django


def main(threads: int, seconds: float, wait: float) -> None:
    from accounts.tokens import get_access_token  # noqa: PLC0415  # once Django is set up
    from farmlokal.http.problems import Problem  # noqa: PLC0415

    def ask(_: int) -> tuple[set[str], set[str]]:
        tokens, failures = set(), set()
        while True:
            try:
                tokens.add(get_access_token(time.monotonic() + wait))
            except Problem as problem:
                failures.add(problem.code)
            if time.monotonic() >= ends:
                return tokens, failures
            time.sleep(0.01)

    with ThreadPoolExecutor(threads) as pool:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        ends = time.monotonic() + seconds
        results = list(pool.map(ask, range(threads)))
    tokens, failures = (sorted(set().union(*part)) for part in zip(*results, strict=True))
    json.dump({"tokens": tokens, "failures": failures}, sys.stdout)


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]), *map(float, sys.argv[2:4]))
