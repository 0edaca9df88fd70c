"""Read and write kubeconfig files, as far as reaching a cluster needs it.

Fields: client-go ``clientcmd/api/v1``. Certificates come inline (``…-data``, base64) or
as paths relative to the file; credentials of managed clusters come from a program
(``exec``, client.authentication.k8s.io).
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import programs
from k8slab.clusters import places
from k8slab.embedded.config import state_home
from k8slab.errors import ProgramError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8slab.objects.meta import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where an API server is and who we are to it; certificates and keys are PEM."""

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    token_file: str = ""
    server_name: str = ""
    """The name in the server's certificate where it is not the one in `server`."""
    verify: bool = True
    namespace: str = "default"
    context: str = ""


_PLAIN = {
    "server",
    "certificate-authority-data",
    "client-certificate-data",
    "client-key-data",
}
BACKUP = ".before-k8slab"
"""Ends the name of the copy of a learner's own kubeconfig."""
LOCK_DEADLINE = 5.0
"""Seconds to wait for another program that changes the same kubeconfig."""


def learners_file() -> Path:
    """Return the kubeconfig that the learner's own kubectl uses (first of ``$KUBECONFIG``)."""
    first = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return Path(first) if first else default_file()


def learners_own() -> Path:
    """Return the first kubeconfig of ``$KUBECONFIG`` that is none of ours, else kubectl's default.

    After ``k8slab env`` the first is a cluster's own: what was written there as the current
    context would be taken for that cluster.
    """
    ours = _real(state_home())
    given = filter(None, os.environ.get("KUBECONFIG", "").split(os.pathsep))
    own = (path for each in given if not _real(path := Path(each)).is_relative_to(ours))
    return next(own, default_file())


def _real(path: Path) -> Path:
    """Follow links as far as they lead: before Python 3.13 `Path.resolve` fails at a circle."""
    return Path(os.path.realpath(path))


def default_file() -> Path:
    """Return the kubeconfig that kubectl takes without ``$KUBECONFIG``."""
    return Path.home() / ".kube" / "config"


def load(path: Path) -> Object:
    """Return the content of a kubeconfig; `UsageError` when it cannot be read."""
    import yaml  # noqa: PLC0415  a status of a cluster that is not there needs none

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}") from error
    try:
        # JSON is YAML; ours is JSON where that saves the slower parser.
        content = json.loads(text) if text.startswith("{") else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise UsageError(f"the kubeconfig {path} is not valid: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"the kubeconfig {path} is not a kubeconfig")
    return content


def read(path: Path, context: str = "", *, plain: bool = False) -> Credentials:
    """Return the credentials of a context, by default of the current one.

    A `plain` one has certificates and keys inline, as those of embedded clusters do: one that
    names a program to run or a file to read is refused.
    """
    content = load(path)
    name = context or content.get("current-context") or ""
    chosen = _named(content, "context", name, path)
    cluster = _named(content, "cluster", chosen.get("cluster", ""), path)
    user = _named(content, "user", chosen.get("user", ""), path) if chosen.get("user") else {}
    if plain and (more := sorted((cluster.keys() | user.keys()) - _PLAIN)):
        raise UsageError(
            f"the kubeconfig {path} has {more[0]}: an embedded cluster's has none",
            hint="it is written anew when the cluster starts: k8slab down, then k8slab up",
        )
    if "exec" in user:
        user = {**user, **_from_program(user["exec"])}
    base = path.parent
    return Credentials(
        server=cluster["server"],
        ca=_pem(cluster, "certificate-authority", base),
        certificate=_pem(user, "client-certificate", base),
        key=_pem(user, "client-key", base),
        token=user.get("token", ""),
        token_file=user.get("tokenFile", ""),
        server_name=cluster.get("tls-server-name", ""),
        verify=not cluster.get("insecure-skip-tls-verify", False),
        namespace=chosen.get("namespace") or "default",
        context=name,
    )


def contexts(path: Path) -> list[str]:
    """Return the names of the contexts in a kubeconfig."""
    return [entry["name"] for entry in load(path).get("contexts") or ()]


def merge(target: Path, source: Path, *, make_current: bool) -> str:
    """Copy the source's current context into `target`, and return the context's name.

    Entries of the same name are replaced, everything else in `target` stays as it was. The
    file as it was before k8slab changed it first is kept beside it (`BACKUP`).
    """
    target = mergeable(target)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(target):
        return _merge(target, load(source), make_current=make_current)


def mergeable(target: Path) -> Path:
    """Return the file that is meant by a kubeconfig, links followed, if `merge` can write to it.

    Raises `UsageError` else, so that it can be known before a cluster is started.
    """
    try:
        found = places.replaceable(target)
    except UsageError as error:
        raise UsageError(error.message, hint="let KUBECONFIG name a file, or unset it") from error
    if found.exists():
        load(found)
    directory = next(path for path in found.parents if path.exists())  # of the lock, too
    for place in (directory, found):
        if place.exists() and not os.access(place, os.W_OK):
            hint = "let KUBECONFIG name a file of your own"
            raise UsageError(f"{place}: you may not write there", hint=hint)
    return found


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock that kubectl takes: a file that only one can make (clientcmd ``lockFile``)."""
    lock = target.with_name(f"{target.name}.lock")
    ends = time.monotonic() + LOCK_DEADLINE
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError as error:
            if time.monotonic() > ends:
                raise UsageError(
                    f"another program works on {target}, or died at it: {lock} is there",
                    hint=f"if nothing does, remove it: rm {lock}",
                ) from error
            time.sleep(0.02)  # it is only a file: nothing tells when it goes
    try:
        yield
    finally:
        lock.unlink()


def _merge(target: Path, new: Object, *, make_current: bool) -> str:
    import yaml  # noqa: PLC0415

    backup = target.with_name(f"{target.name}{BACKUP}")
    if target.exists() and not backup.exists():
        places.write(backup, target.read_bytes(), mode=0o600)
    old: Any = load(target) if target.exists() else {"apiVersion": "v1", "kind": "Config"}
    for section in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in new[section]}
        kept = [entry for entry in old.get(section) or () if entry["name"] not in names]
        old[section] = [*kept, *new[section]]
    if make_current:
        old["current-context"] = new["current-context"]
    places.write(target, yaml.safe_dump(old, sort_keys=False).encode(), mode=0o600)
    return str(new["current-context"])


def _named(content: Object, kind: str, name: str, path: Path) -> Object:
    entries: Iterable[Object] = content.get(f"{kind}s") or ()
    for entry in entries:
        if entry.get("name") == name:
            return entry.get(kind) or {}
    known = ", ".join(str(entry.get("name")) for entry in entries) or "none"
    what = f"no {kind} named {name!r}" if name else "no current context"
    raise UsageError(f"the kubeconfig {path} has {what}", hint=f"it has: {known}")


def _pem(entry: Object, field: str, base: Path) -> bytes:
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data)
    if file := entry.get(field):
        try:
            return Path(base, file).read_bytes()
        except OSError as error:
            raise UsageError(f"{base / file} cannot be read: {error.strerror}") from error
    return b""


def _from_program(plugin: Object) -> Object:
    """Run a credential plugin and return what it gives, in the fields of a user."""
    argv = [plugin["command"], *(plugin.get("args") or ())]
    env = {entry["name"]: entry["value"] for entry in plugin.get("env") or ()}
    request = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "spec": {}}
    done = programs.run(argv, env={**env, "KUBERNETES_EXEC_INFO": json.dumps(request)})
    try:
        status = json.loads(done.stdout)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProgramError(
            f"{argv[0]} printed no credentials", command=shlex.join(argv), output=done.stdout[:500]
        ) from error
    found = {"token": status.get("token", "")}
    for field, key in (
        ("client-certificate-data", "clientCertificateData"),
        ("client-key-data", "clientKeyData"),
    ):
        if status.get(key):
            found[field] = base64.b64encode(status[key].encode()).decode()
    return found
