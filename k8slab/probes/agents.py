"""Probe from inside ordinary pods, with what their images have: one exec for each source.

The agent is a shell script. It runs all flows of one pod side by side and writes one line
for each: number, method, exit code, and what the tool said. The judgement stands here and
not in the script, as a table of what each tool says about refusal, silence and names.

Images differ: python3 tells everything, agnhost and nc nearly everything, curl only TCP.
A pod without any of them, or UDP without python3, gives `FAILED`: nothing was seen. That
is honest; "blocked" would not be.
"""

from __future__ import annotations

import math
import re
import shlex
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError
from k8slab.probes.outcome import Observation, Outcome
from k8slab.probes.targets import run_in_pod

if TYPE_CHECKING:
    from k8slab.policy import Flow, Party
    from k8slab.probes.targets import Target

SIDE_BY_SIDE = 16
"""Source pods asked at the same time."""


@dataclass(frozen=True, slots=True)
class Job:
    """One flow to try, with its place in the caller's order."""

    index: int
    flow: Flow
    target: Target


def run_agents(cluster: Any, jobs: list[Job], deadline: float) -> dict[int, Observation]:
    """Try all jobs, one exec for each source pod; return observations by index."""
    by_source: dict[Party, list[Job]] = defaultdict(list)
    for job in jobs:
        by_source[job.flow.source].append(job)

    def run(item: tuple[Party, list[Job]]) -> dict[int, Observation]:
        return _run_one(cluster, item[0], item[1], deadline)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        found = pool.map(run, by_source.items())
        return {index: seen for part in found for index, seen in part.items()}


def _run_one(
    cluster: Any, source: Party, jobs: list[Job], deadline: float
) -> dict[int, Observation]:
    if source.kind != "pod":
        return _all_failed(jobs, f"{source}: this cluster can probe from pods only")
    try:
        argv = ["sh", "-c", script(jobs, deadline)]
        done = run_in_pod(cluster, source, argv, deadline=30 + 2 * deadline)
    except K8slabError as error:
        return _all_failed(jobs, f"exec in {source} did not work: {error.args[0]}")
    answers = read_answers(done.stdout)
    if not answers:
        said = (done.stderr or done.stdout).strip()[-200:]
        return _all_failed(jobs, f"the agent in {source} said nothing ({done.code}): {said}")
    return {job.index: _judge(job, answers.get(job.index)) for job in jobs}


def _all_failed(jobs: list[Job], why: str) -> dict[int, Observation]:
    return {job.index: Observation(job.flow, Outcome.FAILED, why) for job in jobs}


_PYTHON = """\
import socket, sys
host, port, protocol, wait = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
try:
    found = socket.getaddrinfo(host, port, type=kind)
except socket.gaierror as error:
    print("unresolved", error); sys.exit()
family, kind, number, _, address = found[0]
with socket.socket(family, kind, number) as sock:
    sock.settimeout(wait)
    try:
        sock.connect(address)
        if protocol == "UDP":
            sock.send(b"k8slab probe")
            sock.recv(2048)
        print("open", address[0])
    except ConnectionRefusedError: print("refused", address[0])
    except (TimeoutError, socket.timeout): print("silent", address[0])
    except OSError as error: print("failed", error)
"""

_SCRIPT = """\
deadline={deadline}
code={code}
if command -v python3 >/dev/null 2>&1; then tool=python
elif [ -x /agnhost ]; then tool=agnhost
elif command -v nc >/dev/null 2>&1; then tool=nc
elif command -v curl >/dev/null 2>&1; then tool=curl
else tool=none; fi
probe() {{
  case "$tool:$4" in
    python:*) said=$(python3 -c "$code" "$2" "$3" "$4" "$deadline" 2>&1) ;;
    agnhost:*)
      lower=$(echo "$4" | tr A-Z a-z)
      said=$(/agnhost connect "$2:$3" --timeout="${{deadline}}s" --protocol="$lower" 2>&1) ;;
    nc:TCP) said=$(nc -v -z -w "$deadline" "$2" "$3" 2>&1 </dev/null) ;;
    curl:TCP)
      said=$(curl -sSv -o /dev/null --connect-timeout "$deadline" -m $((deadline + 1)) \
        "telnet://$2:$3" 2>&1 </dev/null) ;;
    *) said="no tool for $4"; false ;;
  esac
  echo "k8slab $1 $tool $? $(echo "$said" | tr '\\n' ' ')"
}}
{calls}
wait
"""


def script(jobs: list[Job], deadline: float) -> str:
    """Return the agent for these jobs; `deadline` is rounded up to whole seconds."""
    calls = "\n".join(
        f"probe {job.index} {shlex.quote(job.target.host)} {job.target.port} "
        f"{job.target.protocol} &"
        for job in jobs
    )
    return _SCRIPT.format(deadline=math.ceil(deadline), code=shlex.quote(_PYTHON), calls=calls)


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of the agent: which tool, its exit code, what it said."""

    tool: str
    code: int
    said: str


_LINE = re.compile(r"^k8slab (\d+) (\w+) (\d+) ?(.*)$", re.MULTILINE)


def read_answers(text: str) -> dict[int, Answer]:
    """Read the agent's lines by flow number; other output is ignored."""
    return {
        int(number): Answer(tool, int(code), said.strip())
        for number, tool, code, said in _LINE.findall(text)
    }


# What tools say, lower case. agnhost connect: TIMEOUT, REFUSED, DNS, OTHER (its README).
_WORDS = (
    ("refused", Outcome.REFUSED),
    ("bad address", Outcome.UNRESOLVED),
    ("not known", Outcome.UNRESOLVED),
    ("could not resolve", Outcome.UNRESOLVED),
    ("name resolution", Outcome.UNRESOLVED),
    ("dns:", Outcome.UNRESOLVED),
    ("no address associated", Outcome.UNRESOLVED),
    ("host lookup failed", Outcome.UNRESOLVED),
    ("timed out", Outcome.SILENT),
    ("timeout", Outcome.SILENT),
)


def judge(answer: Answer) -> Outcome:
    """Turn what a tool said into an outcome; what is not understood is `FAILED`."""
    said = answer.said.lower()
    if answer.tool == "python":
        word = said.partition(" ")[0]
        return Outcome(word) if word in {o.value for o in Outcome} else Outcome.FAILED
    if answer.tool == "curl":
        return _curl(answer, said)
    if answer.code == 0:
        return Outcome.OPEN
    return next((outcome for word, outcome in _WORDS if word in said), Outcome.FAILED)


def _curl(answer: Answer, said: str) -> Outcome:
    # With -v curl tells when it is connected; the exit code then says only how it went on.
    if "connected to" in said:
        return Outcome.OPEN
    match answer.code:
        case 6:
            return Outcome.UNRESOLVED
        case 7 if "refused" in said:
            return Outcome.REFUSED
        case 28:
            return Outcome.SILENT
    return Outcome.FAILED


def _judge(job: Job, answer: Answer | None) -> Observation:
    if answer is None:
        return Observation(job.flow, Outcome.FAILED, "the agent did not report this flow")
    outcome = judge(answer)
    detail = "" if outcome is Outcome.OPEN else f"{answer.tool}: {answer.said}".strip()
    address = ""
    if answer.tool == "python" and outcome is not Outcome.UNRESOLVED:
        address = answer.said.partition(" ")[2]
    return Observation(job.flow, outcome, detail, address=address)
