"""Debian in a folder: made by debootstrap, changed by the Dockerfile's steps, and run without permission to write."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.rehearsal.dockerfile import Stage, variables
from dev.testing.deployment import copy_image_files

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE_ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
MIRROR = "http://deb.debian.org/debian"  # if this machine is not a Debian
HOST_CERTIFICATES = "run/host-certificates.crt"
# In a mount namespace of its own, which ends with the command. The root is read-only; /tmp is empty and in memory.
MOUNTED = """
set -e
mount --bind "$ROOT" "$ROOT"
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
if [ "$MODE" = ro ]; then
    mount -t tmpfs -o mode=1777,nosuid,nodev,noexec tmpfs "$ROOT/tmp"
    mount -o remount,bind,ro "$ROOT"
fi
exec "$@"
"""


def mirror() -> str:
    """The Debian mirror in this machine's apt sources."""
    sources = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    for source in filter(Path.is_file, sources):
        if found := re.search(r"^(?:URIs:|deb(?: \[.*\])?) (\S+/debian)/?(?:\s|$)", source.read_text(), re.MULTILINE):
            return found[1]
    return MIRROR


def make_base(root: Path, image: str) -> None:
    """A stand-in for the official image python:VERSION-slim-SUITE: the same Debian, with Debian's own Python."""
    found = re.match(r"python:(\d+\.\d+)-slim-(\w+)", image)
    if not found:
        raise ValueError(f"Dockerfile: the rehearsal does not know the image {image}")
    version, suite = found.groups()
    if root.exists():
        return
    unfinished = root.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    packages = f"ca-certificates,python{version}-venv,python{version}-dev"
    bootstrap = ["debootstrap", "--variant=minbase", f"--include={packages}", suite, str(unfinished), mirror()]
    subprocess.run(bootstrap, check=True)
    for name in ("python", "python3"):
        (unfinished / "usr/local/bin" / name).symlink_to(f"/usr/bin/python{version}")
    for name in ("resolv.conf", "hosts"):
        shutil.copy(f"/etc/{name}", unfinished / "etc" / name)
    unfinished.rename(root)


def pip_environment() -> dict[str, str]:
    """This machine's way to the package index."""
    listed = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    configured = dict(re.findall(r"^(?:global|:env:|install)\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    environment = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    if index := configured.get("index-url"):
        environment["PIP_INDEX_URL"] = index
    if configured.get("cert"):
        environment["PIP_CERT"] = f"/{HOST_CERTIFICATES}"
    return environment


def build(folder: Path, stages: Sequence[Stage]) -> Path:
    """Run the steps of each stage. Returns the root folder of the last one."""
    roots: dict[str, Path] = {}
    for number, stage in enumerate(stages):
        root = folder / f"{number}-{stage.name or 'image'}"
        if stage.base in roots:
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", str(roots[stage.base]), str(root)], check=True)
        else:
            root = folder / re.sub(r"\W+", "-", stage.base)
            make_base(root, stage.base)
        roots[stage.name] = root
        _run_steps(root, stage, roots)
    return roots[stages[-1].name]


def _run_steps(root: Path, stage: Stage, roots: Mapping[str, Path]) -> None:
    environment, folder = BASE_ENVIRONMENT | pip_environment(), "/"
    certificates = root / HOST_CERTIFICATES
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
    for step in stage.steps:
        print(f"{stage.name or 'image'}: {step.name} {step.text[:90]}", flush=True)
        if step.name == "WORKDIR":
            folder = step.text
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.name in {"ENV", "ARG"}:  # an ARG has its default
            environment |= variables(step.text, environment)
        elif step.name == "COPY":
            _copy(root, folder, step.text, roots)
        elif step.name == "RUN":
            command = ["sh", "-c", f"cd {shlex.quote(folder)} && {step.text}"]
            subprocess.run(in_root(root, command, "root", "rw"), env=environment | {"ROOT": str(root)}, check=True)
    certificates.unlink()


def _copy(root: Path, folder: str, text: str, roots: Mapping[str, Path]) -> None:
    *sources, target = shlex.split(text)
    destination = root / os.path.normpath(f"{folder}/{target}").lstrip("/")
    if sources[0].startswith("--from="):
        copied = roots[sources[0].removeprefix("--from=")] / sources[1].lstrip("/")
        subprocess.run(["cp", "-a", str(copied), str(destination)], check=True)
    elif sources == ["."]:
        copy_image_files(destination)
    else:
        for source in sources:
            shutil.copy(source, destination)


def in_root(root: Path, command: Sequence[str], user: str, mode: str) -> list[str]:
    """The command line that runs a command in this root. mode: rw; or ro, without privileges and capabilities."""
    chroot = ["chroot", *([] if user == "root" else [f"--userspec={user}"]), str(root), *command]
    if mode == "ro":
        chroot = ["setpriv", "--no-new-privs", *chroot]
    return ["unshare", "--mount", "env", f"ROOT={root}", f"MODE={mode}", "sh", "-c", MOUNTED, "sh", *chroot]
