"""Redis's INFO by a script, so that it costs one command and needs only the rights that scripts need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from farmlokal.redis.scripts import load

INFO = load(__file__, "info.lua")


def parse(answer: Sequence[bytes]) -> Mapping[str, str]:
    """answer: of the script. Empty if the account may not ask for INFO."""
    lines = answer[0].decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}
