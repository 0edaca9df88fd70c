"""Where real kubectls come from: this machine, Debian's package, the Go module of our version."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

NEWEST = Path(__file__).with_name("newest")
"""A Go module whose program is the kubectl of the version that the cluster calls itself."""

BUILD_SECONDS = 1800
"""For the first build, which fetches and compiles all of client-go; a later one takes seconds."""

DEBIANS = 20
"""The minor version of kubectl in Debian 12."""


class UnavailableError(Exception):
    """A kubectl cannot be had here; the message says why."""


def minor(program: Path) -> int:
    """Return which minor version a kubectl is; 0 when it does not say."""
    asked = [str(program), "version", "--client", "-o", "json"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        return 0
    return int(re.sub(r"\D", "", json.loads(done.stdout)["clientVersion"]["minor"]))


def installed() -> dict[int, Path]:
    """Return every kubectl here by its minor version: a dispatcher has others beside it."""
    first = shutil.which("kubectl")
    if not first:
        return {}
    home = Path(first).resolve().parent
    found = {minor(path): path for path in (Path(first), *home.glob("kubectl.1.*"))}
    found.pop(0, None)
    return found


def debians(cache: Path) -> Path:
    """Return kubectl 1.20: the installed one, or Debian's package, which is unpacked once."""
    if found := installed().get(DEBIANS):
        return found
    unpacked = cache / "debian"
    program = unpacked / "usr" / "bin" / "kubectl"
    if not program.exists():
        _unpack(cache, unpacked)
    version = minor(program)
    if version != DEBIANS:
        raise UnavailableError(f"this distribution's kubectl is 1.{version}, not 1.{DEBIANS}")
    return program


def _unpack(cache: Path, unpacked: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UnavailableError("kubectl 1.20 is Debian's, and there is no apt-get here")
    work = cache / f"work-{os.getpid()}"
    work.mkdir()
    try:
        fetch = ["apt-get", "download", "kubernetes-client"]
        done = subprocess.run(
            fetch, cwd=work, capture_output=True, text=True, timeout=120, check=False
        )
        packages = list(work.glob("*.deb"))
        if not packages:
            said = (done.stderr.strip().splitlines() or ["apt-get says nothing"])[-1]
            raise UnavailableError(f"the package kubernetes-client cannot be had: {said}")
        extract = ["dpkg-deb", "-x", str(packages[0]), str(work / "root")]
        subprocess.run(extract, check=True, timeout=60)
        try:
            (work / "root").rename(unpacked)
        except OSError:  # another process of the tests was first
            if not unpacked.exists():
                raise
    finally:
        shutil.rmtree(work)


def newest(cache: Path) -> Path:
    """Return the kubectl of the cluster's own version, built from its Go module."""
    if not shutil.which("go"):
        raise UnavailableError("there is no Go on this machine")
    (version,) = re.findall(r"k8s\.io/kubectl (v\S+)", (NEWEST / "go.mod").read_text())
    program = cache / f"kubectl-{version}"
    _, number, _ = version.split(".")
    place = "k8s.io/component-base/version"
    stamp = f"-X {place}.gitVersion={version} -X {place}.gitMajor=1 -X {place}.gitMinor={number}"
    command = [
        "go",
        "build",
        "-mod=readonly",
        "-buildvcs=false",
        "-trimpath",
        "-ldflags",
        f"-s -w {stamp}",
    ]
    done = subprocess.run(
        [*command, "-o", str(program), "."],
        cwd=NEWEST,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if "dial tcp" in done.stderr:
        raise UnavailableError(f"k8s.io/kubectl cannot be fetched: {done.stderr.splitlines()[-1]}")
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {NEWEST}:\n{done.stderr}")
    return program
