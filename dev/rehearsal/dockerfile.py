"""Reads the Dockerfile, so that the rehearsal runs its steps and not a copy of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

KNOWN = {"ARG", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "CMD"}


class Step(NamedTuple):
    name: str
    text: str


class Stage(NamedTuple):
    name: str  # "" for the image itself
    base: str  # an image, or the name of an earlier stage
    steps: list[Step]


class Image(NamedTuple):
    """How a container of the last stage starts."""

    user: str
    folder: str
    environment: dict[str, str]
    command: list[str]


def read(path: Path) -> list[Stage]:
    """Raises ValueError for an instruction that the rehearsal does not know."""
    joined = re.sub(r"\\\n\s*", " ", path.read_text())
    stages: list[Stage] = []
    for line in joined.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, text = line.partition(" ")
        if name == "FROM":
            base, _, alias = text.partition(" AS ")
            stages.append(Stage(alias.strip(), base.strip(), []))
        elif name in KNOWN:
            stages[-1].steps.append(Step(name, text.strip()))
        else:
            raise ValueError(f"Dockerfile: the rehearsal does not know {name}")
    return stages


def image_of(stages: list[Stage], environment: dict[str, str]) -> Image:
    """environment: that of the base image. Reads only the last stage, which sets all of it."""
    user, folder, command = "root", "/", list[str]()
    environment = dict(environment)
    for step in stages[-1].steps:
        if step.name == "USER":
            user = step.text
        elif step.name == "WORKDIR":
            folder = step.text
        elif step.name == "CMD":
            command = json.loads(step.text)
        elif step.name == "ENV":
            environment |= variables(step.text, environment)
    return Image(user, folder, environment, command)


def variables(text: str, environment: dict[str, str]) -> dict[str, str]:
    """The values of an ENV instruction, which may contain $NAME."""
    pairs = dict(pair.split("=", 1) for pair in shlex.split(text))
    return {key: re.sub(r"\$(\w+)", lambda name: environment.get(name[1], ""), value) for key, value in pairs.items()}
