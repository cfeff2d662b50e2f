"""The wall clock of a process, which a fault steps while the process runs.

libfaketime cannot: Redis's allocator and time.sleep() of Python 3.11 fail under it.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")
SECONDS = struct.Struct("=q")


class Clock:
    """environment: of the process."""

    def __init__(self, folder: Path) -> None:
        library, file = folder / "clock.so", folder / "clock"
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE], check=True, timeout=60)
        file.write_bytes(SECONDS.pack(0))
        with file.open("r+b") as opened:
            self._offset = mmap.mmap(opened.fileno(), SECONDS.size)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(file)}

    def step(self, seconds: int) -> None:
        """From the machine's time, not from the last step."""
        self._offset[:] = SECONDS.pack(seconds)
