"""The check ``queries``: how many DNS queries a command in a pod costs.

Counted are the UDP datagrams that the pod's network namespace sends while the command runs
(``/proc/net/snmp`` and ``snmp6``, counters of the kernel: RFC 4113, udpOutDatagrams). So the
command must use UDP for names only, as curl and getent do; A and AAAA are two queries, and a
query by TCP is not counted. A datagram that is lost is sent again, and other programs of the pod
may ask as well: both can only add. So the least of three runs counts, and there is no chance
left that a quiet pod is refused one which it did not send.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from k8slab.errors import ProbeError
from k8slab.grading.fields import Field, Fields, text
from k8slab.grading.result import Counterexample, Finding, Status
from k8slab.policy import Party
from k8slab.probes import one_pod, run_in_pod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8slab.grading.context import Context

RUNS = 3
SECONDS = 30

FIELDS: Fields = {
    "from": text("the pod in which the command runs", required=True),
    "argv": Field((list,), "the command, word by word", required=True),
    "equals": Field((int,), "how many queries are wanted"),
    "at_most": Field((int,), "the most that are wanted"),
    "at_least": Field((int,), "the least that are wanted"),
}

_LIMITS = ("equals", "at_most", "at_least")

_SCRIPT = """\
count() { cat /proc/net/snmp /proc/net/snmp6 2>/dev/null; echo k8slab; }
count; "$@" >/dev/null 2>&1; code=$?; count; exit $code
"""


def fault(spec: Mapping[str, Any]) -> str:
    """Say what is wrong with a check of this kind; empty when nothing is."""
    if not any(name in spec for name in _LIMITS):
        return f"needs one of {', '.join(_LIMITS)}"
    return "" if spec["argv"] else "argv is empty"


def check(context: Context, spec: Mapping[str, Any]) -> Finding:
    """Run the command and count; the least of `RUNS` runs decides."""
    argv = [str(word) for word in spec["argv"]]
    asker = context.asker(spec["from"])
    least = _run(context, asker, argv)
    for _ in range(RUNS - 1):
        if not _misses(least, spec):
            break
        least = min(least, _run(context, asker, argv))
    told = f"{least} queries" if least != 1 else "one query"
    if not (missed := _misses(least, spec)):
        return Finding("queries", Status.PASSED, (f"the command costs {told}",))
    source = one_pod(context.cluster, Party.parse(spec["from"], context.namespace))
    command = " ".join(argv)
    replay = f"kubectl -n {source.namespace} exec {source.name} -- cat /etc/resolv.conf"
    example = Counterexample(f"{source}: {command}", " and ".join(missed), told, (), replay)
    return Finding("queries", Status.FAILED, (f"`{command}` costs {told}",), example)


def _misses(count: int, spec: Mapping[str, Any]) -> list[str]:
    missed = []
    if "equals" in spec and count != spec["equals"]:
        missed.append(f"{spec['equals']} queries")
    if "at_most" in spec and count > spec["at_most"]:
        missed.append(f"at most {spec['at_most']}")
    if "at_least" in spec and count < spec["at_least"]:
        missed.append(f"at least {spec['at_least']}")
    return missed


def _run(context: Context, source: Party, argv: list[str]) -> int:
    done = run_in_pod(context.cluster, source, ["sh", "-c", _SCRIPT, "sh", *argv], deadline=SECONDS)
    if done.code in (126, 127):
        raise ProbeError(f"{argv[0]} cannot be run in {source}: it is not in its image")
    before, _, rest = done.stdout.partition("k8slab\n")
    after, mark, _ = rest.partition("k8slab\n")
    if not mark:
        raise ProbeError(f"the kernel's counters cannot be read in {source}: {done.stderr.strip()}")
    return sent(after) - sent(before)


def sent(text_: str) -> int:
    """Return the UDP datagrams sent, of both IP families, from the kernel's two tables."""
    total = 0
    lines = text_.splitlines()
    for names, numbers in pairwise(lines):
        if names.startswith("Udp:") and numbers.startswith("Udp:") and "OutDatagrams" in names:
            total += int(numbers.split()[names.split().index("OutDatagrams")])
    words = (line.split() for line in lines if line.startswith("Udp6OutDatagrams"))
    return total + sum(int(word[1]) for word in words)
