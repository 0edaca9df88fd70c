"""Programs that read files of ConfigMaps and Secrets: whether they run with what is written now.

A ConfigMap or Secret that was changed a moment ago is not yet what programs do. The kubelet brings
it into the files of the pods (here at once; a real one within about a minute and a half: its sync
period and its cache), and a program looks at its file when it likes, or never. Whoever judged
before that would judge the answer before this one. So each running program that was given a file is
asked for what it knows:

- CoreDNS logs the checksum of the Corefile that it runs with (`checksum`), and what it refused.
  A refused Corefile solves nothing: the server runs on with an older one, until it is started.
- A file that is mounted by `subPath` never changes while its container runs (Kubernetes, "Configure
  a Pod to Use a ConfigMap", "Mounted ConfigMaps are updated automatically"): nothing is under way.
- Of other programs nobody can know when they look. Their file is read in the pod, where it can
  be, and `READING` must have passed since the change.
"""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from k8slab.clusters.permitted import permitted
from k8slab.embedded.dns.checksum import checksum
from k8slab.errors import ApiStatusError, K8slabError, UsageError
from k8slab.grading import moment
from k8slab.grading.polling import Polling
from k8slab.grading.result import Blame, Counterexample, Finding, Status
from k8slab.grading.starting import runs_since
from k8slab.grading.watched import CLUSTERS_OWN
from k8slab.objects import meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from k8slab.grading.context import Context
    from k8slab.objects.meta import Object
    from k8slab.probes.targets import Snapshot

TITLE = "programs run with what is written"

READING = timedelta(seconds=4)
"""How long a program of which nothing is known may take until it looks at a changed file."""

PROJECTION = timedelta(seconds=90)
"""How long a real kubelet may take to change the file (Kubernetes documentation, "ConfigMaps":
its sync period, a minute and up to half of one more by chance, and its cache)."""

PATIENCE = 60.0
"""Seconds to wait where files change at once and CoreDNS looks every 2 s: on a busy machine too."""


NEVER = datetime.min.replace(tzinfo=UTC)


class State(Enum):
    """How a program stands to its file."""

    READ = "read"
    UNDER_WAY = "under way"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Source:
    """The ConfigMap or Secret of a volume, and which of its keys become which files."""

    resource: str
    name: str
    items: tuple[Mapping[str, str], ...] = ()

    def __str__(self) -> str:
        """Return what it is called in a sentence."""
        return f"the {'Secret' if self.resource == 'secrets' else 'ConfigMap'} {self.name}"


@dataclass(frozen=True, slots=True)
class Reader:
    """One running container that is given a ConfigMap's or Secret's keys as files."""

    pod: Object
    container: Object
    source: Source
    files: Mapping[str, bytes] | None
    """Content by path, as it is written now; ``None`` where the source is not there."""
    written: datetime
    """When the source was changed last; the API gives whole seconds."""
    started: datetime
    fixed: bool = False
    """Whether the files stay what they were when the container started."""

    @property
    def changed_since(self) -> bool:
        """Say whether the file may be another one than that of the container's start."""
        return self.written >= self.started


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known about one reader, and why, in a sentence."""

    reader: Reader
    state: State
    why: str = ""


def check(context: Context, there: Snapshot | None = None) -> Finding | None:
    """Wait until all programs have read their files; return what is wrong, if anything is.

    The first look is at `there`, which was read just now, if it is given.
    """
    now = context.looks(there)
    seen = Polling(
        look=lambda: [_reading(context, reader) for reader in _readers(context, now())],
        good=lambda found: not _of(found, State.UNDER_WAY),
        quiet=lambda _: False,
        deadline=PATIENCE if context.prompt else context.deadline,
        settled=1,
    ).run()
    if refused := _of(seen, State.REFUSED):
        return _finding(refused[0], Status.FAILED, Blame.ANSWER)
    if waiting := _of(seen, State.UNDER_WAY):
        return _finding(waiting[0], Status.INCONCLUSIVE, Blame.NOT_READY)
    return None


def _of(found: list[Reading], state: State) -> list[Reading]:
    return [one for one in found if one.state is state]


def _finding(one: Reading, status: Status, blame: Blame) -> Finding:
    pod, reader = one.reader.pod, one.reader
    name, space = meta.name_of(pod), meta.namespace_of(pod)
    command = ["kubectl", "-n", space, "logs", name, "-c", reader.container["name"]]
    example = Counterexample(
        f"{reader.source.resource}/{reader.source.name}",
        f"to be what the pod {name} runs with",
        one.why,
        replay=shlex.join(command),
    )
    return Finding(TITLE, status, (one.why,), example, blame=blame)


# Who reads what.


def _readers(context: Context, there: Snapshot) -> Iterator[Reader]:
    for space in context.namespaces:
        pods = {
            name: pod
            for name, pod in there.objects("pods", space).items()
            if not meta.is_deleting(pod)
        }
        volumes = {name: _volumes(pod) for name, pod in pods.items()}
        wanted = {
            one.resource for each in volumes.values() for found in each.values() for one in found
        }
        # Who may not read Secrets has changed none.
        found = {
            resource: permitted(partial(there.objects, resource, space)) for resource in wanted
        }
        for name, pod in pods.items():
            yield from _of_pod(pod, volumes[name], found)


def _of_pod(
    pod: Object,
    volumes: Mapping[str, Sequence[Source]],
    there: Mapping[str, Mapping[str, Object] | None],
) -> Iterator[Reader]:
    for container in pod["spec"]["containers"]:
        started = _started(pod, container["name"])
        for mount in container.get("volumeMounts") or () if started else ():
            for source in volumes.get(mount["name"], ()):
                if (objects := there[source.resource]) is None:
                    continue
                found = objects.get(source.name)
                files = _files(source, found, mount) if found else None
                written = _written(found) if found else NEVER
                fixed = bool(mount.get("subPath") or mount.get("subPathExpr"))
                yield Reader(pod, container, source, files, written, started or NEVER, fixed)


def _started(pod: Object, container: str) -> datetime | None:
    """Return since when a container runs; ``None`` while it does not."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((runs_since(one) for one in statuses if one["name"] == container), None)


def _volumes(pod: Object) -> dict[str, list[Source]]:
    """Return the ConfigMaps and Secrets of a pod's volumes, by the volume's name."""
    found = {one["name"]: [*_sources(one)] for one in pod["spec"].get("volumes") or ()}
    return {name: sources for name, sources in found.items() if sources}


def _sources(volume: Object) -> Iterator[Source]:
    """Yield what of a volume somebody wrote: not the cluster's own authority.

    A Secret's volume calls it `secretName`, a projected one `name` (core/v1 SecretVolumeSource,
    SecretProjection).
    """
    for part in (volume, *((volume.get("projected") or {}).get("sources") or ())):
        for field, resource in (("configMap", "configmaps"), ("secret", "secrets")):
            one = part.get(field) or {}
            name = one.get("name") or one.get("secretName")
            if name and name not in CLUSTERS_OWN:
                yield Source(resource, name, tuple(one.get("items") or ()))


def _files(source: Source, found: Object, mount: Object) -> dict[str, bytes]:
    content = _content(source, found)
    items = source.items or tuple({"key": key, "path": key} for key in content)
    files = {item["path"]: content[item["key"]] for item in items if item["key"] in content}
    within = mount.get("subPath") or ""
    if within:
        return {mount["mountPath"]: files[within]} if within in files else {}
    return {f"{mount['mountPath'].rstrip('/')}/{path}": text for path, text in files.items()}


def _content(source: Source, found: Object) -> dict[str, bytes]:
    """Return what each key holds; of binary data and Secrets the API gives base64."""
    data, binary = found.get("data") or {}, found.get("binaryData") or {}
    if source.resource == "secrets":
        data, binary = {}, data
    decoded = {key: base64.b64decode(text or "") for key, text in binary.items()}
    return {key: (text or "").encode() for key, text in data.items()} | decoded


def _written(source: Object) -> datetime:
    metadata = source["metadata"]
    times = [entry.get("time") or "" for entry in metadata.get("managedFields") or ()]
    last = max([metadata.get("creationTimestamp") or "", *times])
    return datetime.fromisoformat(last) if last else NEVER


# What is known of each.


def _reading(context: Context, reader: Reader) -> Reading:
    if (corefile := _corefile(reader.container)) is None:
        return _of_any_program(context, reader)
    name = meta.name_of(reader.pod)
    if reader.files is None or corefile not in reader.files:
        what = "not there" if reader.files is None else f"without {corefile.rpartition('/')[2]}"
        return Reading(
            reader,
            State.REFUSED,
            f"{reader.source} is {what}: {name} runs on with what it has read, "
            "and will not start again",
        )
    try:
        wanted = checksum(reader.files[corefile].decode(), file=corefile)
    except (UsageError, UnicodeDecodeError) as error:
        return _refused(reader, str(error))
    if not wanted:
        return _of_any_program(context, reader)
    space, container = meta.namespace_of(reader.pod), reader.container["name"]
    try:
        log = context.cluster.logs(space, name, container=container, timestamps=True)
    except ApiStatusError as error:  # it crashed since the pods were listed: it is no reader then
        return Reading(reader, State.UNDER_WAY, f"{name} has no log: {error.message}")
    return _of_coredns(context, reader, wanted, Heard.of(log))


_CONF = re.compile(r"--?conf(?:=| )(\S+)")


def _corefile(container: Object) -> str | None:
    """Return the path of a CoreDNS container's Corefile; ``None`` for another program."""
    words = " ".join([*(container.get("command") or ()), *(container.get("args") or ())])
    image = re.split("[:@]", container["image"].rpartition("/")[2])[0]
    found = _CONF.search(words)
    return found[1] if found and image == "coredns" else None


def _refused(reader: Reader, why: str) -> Reading:
    return Reading(
        reader,
        State.REFUSED,
        f"{meta.name_of(reader.pod)} refuses {reader.source}: it runs on with "
        f"what it has read before, and will not start again: {why}",
    )


def _of_coredns(context: Context, reader: Reader, wanted: str, heard: Heard) -> Reading:
    if heard.running == wanted:
        return Reading(reader, State.READ)
    name = meta.name_of(reader.pod)
    if heard.refusal and heard.refused_at >= reader.written and _long_ago(context, reader):
        return _refused(reader, heard.refusal)
    if heard.done and (reader.fixed or not heard.looks):
        if reader.written <= reader.started:
            return Reading(reader, State.READ)
        why = (
            "its file is mounted by `subPath`"
            if reader.fixed
            else "what it runs with has no `reload`"
        )
        return Reading(
            reader,
            State.REFUSED,
            f"{name} does not see changes, since {why}: it knows nothing of {reader.source} until "
            "it is started again",
        )
    why = f"{name} has not read the change of {reader.source} yet: check again later"
    return Reading(reader, State.UNDER_WAY, why)


def _long_ago(context: Context, reader: Reader) -> bool:
    """Say whether a refusal since the change must be one of what is written now."""
    waited = READING if context.prompt else PROJECTION + READING
    return moment.now(context) - reader.written > waited


_RUNS = re.compile(r"plugin/reload: Running configuration (?:SHA512|MD5) = (\w+)")
_GREETING = ("CoreDNS-", "k8slab-dns-")
"""How the last words of a start begin (coremain.Run): the checksum comes before them."""
_REFUSES = re.compile(r"plugin/reload: (?:Corefile changed but reload|Corefile parse) failed: (.*)")


@dataclass(frozen=True, slots=True)
class Heard:
    """What CoreDNS last said about its Corefile (plugin/reload and Caddy's restart)."""

    running: str = ""
    """The checksum of what it runs with; empty where it has not said."""
    looks: bool = False
    """Whether it looks for changes: only then it says the checksum."""
    refusal: str = ""
    """Why it refused a later one."""
    refused_at: datetime = NEVER
    done: bool = False
    """Whether it has said all that it says when it starts or reloads."""

    @classmethod
    def of(cls, log: str) -> Heard:
        """Read a log, each line of which begins with its time."""
        running, looks, refusal, time, done = "", False, "", NEVER, False
        before: tuple[str, bool] = ("", False)
        for line in log.splitlines():
            stamp, _, text = line.partition(" ")
            if found := _RUNS.search(text):
                running, looks, refusal = found[1], True, ""
            elif text.strip() == "[INFO] Reloading":
                # The checksum follows, if what is read now looks for changes.
                before, running, looks, done = (running, looks), "", False, False
            elif found := _REFUSES.search(text):
                if "reload failed" in text:
                    running, looks, done = *before, True
                refusal, time = found[1], datetime.fromisoformat(_microseconds(stamp))
            elif text.startswith(_GREETING) or text.strip() == "[INFO] Reloading complete":
                done = True
        return cls(running, looks, refusal, time, done)


def _microseconds(stamp: str) -> str:
    """Return a time of RFC 3339 with at most six digits after the point, as Python reads it."""
    return re.sub(r"(\.\d{6})\d+", r"\1", stamp)


def _of_any_program(context: Context, reader: Reader) -> Reading:
    """Wait until the file is the one that is written, and a while longer."""
    if not reader.changed_since or not reader.files or reader.fixed:
        return Reading(reader, State.READ)
    name = meta.name_of(reader.pod)
    recent = moment.now(context) - reader.written < READING
    if recent or not _shown(context, reader):
        why = f"{name} may not have read the change of {reader.source}: check again soon"
        return Reading(reader, State.UNDER_WAY, why)
    return Reading(reader, State.READ)


def _shown(context: Context, reader: Reader) -> bool:
    """Say whether the files in the pod hold what is written; so does a pod that has no cat."""
    space, name = meta.namespace_of(reader.pod), meta.name_of(reader.pod)
    for path, content in (reader.files or {}).items():
        try:
            done: Any = context.cluster.exec(
                space, name, ["cat", path], container=reader.container["name"]
            )
        except K8slabError:
            return True  # nobody can look inside: the time since the change must do
        # What is no text comes out of a pod with other characters: compared as what it becomes.
        if done.code == 0 and done.stdout != content.decode(errors="replace"):
            return False
    return True
