"""The steady load, in a process of its own.

python -m dev.chaos.load reads a Plan as one line of JSON, and runs until standard input ends. Each caller keeps one
connection and sends on a fixed schedule, so the delay of a slow server counts in full. Each sample is printed as one
line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

from dev.chaos.callers import Caller, Plan, callers
from dev.chaos.samples import LOST, Kind, Sample
from dev.testing.waiting import TIMEOUT_SECONDS, wait_until

RECONNECT_SECONDS = 0.1  # a dying worker still takes connections that come at once


class Load:
    """The process, while used as a context manager. samples: all so far."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.samples: list[Sample] = []
        self._callers = len(callers(plan))

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "dev.chaos.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin
        self._process.stdin.write(json.dumps(self.plan._asdict()) + "\n")
        self._process.stdin.flush()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            kind, *rest = json.loads(line)
            self.samples.append(Sample(Kind(kind), *rest))

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=TIMEOUT_SECONDS)
        self._thread.join(TIMEOUT_SECONDS)

    def since(self, moment: float) -> list[Sample]:
        """Samples of requests that were due since then."""
        return [sample for sample in list(self.samples) if sample.due >= moment]

    def wait_for_calm(self, since: float, settle: float, timeout: float) -> float:
        """Wait until all callers have got normal answers for `settle` seconds, and pages come from the cache.

        Return when that began. All times are by time.monotonic.
        """
        calm_since = since

        def is_calm() -> bool:
            nonlocal calm_since
            assert self._process.poll() is None, "the load has ended"
            samples = self.since(since)
            hits = [sample.ended for sample in samples if sample.answer == "200 hit"]
            others = [sample.ended for sample in samples if not sample.is_normal]
            calm_since = max([since, *others, *hits[:1]])
            calm = {sample.caller for sample in samples if sample.is_normal and sample.due >= calm_since}
            return time.monotonic() - calm_since >= settle and len(calm) == self._callers and bool(hits)

        try:
            wait_until(is_calm, timeout)
        except AssertionError as error:
            latest = Counter(f"{sample.kind}: {sample.answer}" for sample in self.since(time.monotonic() - settle))
            raise AssertionError(f"no calm after {timeout:g} s, but {dict(latest)}") from error
        return calm_since


async def call(caller: Caller, record: Callable[[Sample], object]) -> None:
    due, number = time.monotonic() + caller.interval * (caller.number % 7) / 7, caller.number
    while True:
        await asyncio.sleep(max(due - time.monotonic(), 0))
        number += 1
        samples = await caller.turn(number, due)
        for sample in samples:
            record(sample)
        due += caller.interval
        if samples[-1].answer == LOST:
            await asyncio.sleep(RECONNECT_SECONDS)


async def load(plan: Plan) -> None:
    def record(sample: Sample) -> None:
        sys.stdout.write(json.dumps(sample) + "\n")
        sys.stdout.flush()

    calls = [asyncio.ensure_future(call(caller, record)) for caller in callers(plan)]
    end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    done, _ = await asyncio.wait([*calls, end], return_when=asyncio.FIRST_COMPLETED)
    for one in calls:
        one.cancel()
    await asyncio.gather(*done)  # raises the error of a caller


if __name__ == "__main__":
    asyncio.run(load(Plan(**json.loads(sys.stdin.readline()))))
