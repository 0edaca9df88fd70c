"""The face of a lab in a notebook: ``from k8slab import lab``, ``lab.start()``.

Each method does one thing, shows what came of it, and returns it. All of
them can be repeated; none needs a browser, so that notebooks run in tests as they are.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from k8slab import clusters, course, graphs, probes, programs
from k8slab.challenges import Choice
from k8slab.clusters.inventory import inventory
from k8slab.clusters.records import NAME_VARIABLE
from k8slab.clusters.shape import ipv4_first, workers
from k8slab.course.catching_up import catch_up
from k8slab.errors import ClusterError, ProbeError, UsageError
from k8slab.grading import NotSolvedError
from k8slab.graphs import lookup as lookup_graph
from k8slab.graphs import matrix as matrix_graph
from k8slab.notebook import challenging, judging, pictures, places, views
from k8slab.notebook.applying import apply_text
from k8slab.notebook.questions import form
from k8slab.notebook.ranges import explain_range
from k8slab.notebook.views import Output, ResultView, View, shown
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes import lookups
from k8slab.probes.journey import Packet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from k8slab.course import Session

_NAMESPACE_OPTIONS = ("-n", "--namespace", "-A", "--all-namespaces")
_FITTING = (
    "The labs are written for clusters with IPv4, alone or first of two families, and two workers. "
    "Here {}: not all sentences and commands fit, and not every exercise can be solved. "
    'For another cluster: k8slab up --name usual, then lab.start(cluster="usual")'
)


class Face:
    """A lab as its notebook sees it; `start` it first."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._namespace = "default"

    @property
    def session(self) -> Session:
        """The session behind this notebook; `UsageError` before `start`."""
        if self._session is None:
            raise UsageError("the lab has not been started", hint="run lab.start() first")
        return self._session

    @property
    def cluster(self) -> Any:
        """The cluster behind this notebook."""
        return self.session.cluster

    @property
    def namespace(self) -> str:
        """The namespace of the exercise that was begun last: where commands go by default."""
        return self._namespace

    def start(self, name: str = "", *, cluster: str = "") -> View:
        """Open the lab of this directory (or by number), on a cluster that is started if needed.

        KUBECONFIG and K8SLAB_CLUSTER are set for this notebook alone, so that ``!kubectl`` and
        ``!k8slab`` meet the same cluster.
        """
        found = course.find(name)
        try:
            handle = clusters.attach(cluster)
        except ClusterError:
            handle = clusters.up(cluster, progress=_tell_in_place)
            _tell_in_place(f"the cluster {handle.name} was started\n")
        self.use(found, handle)
        os.environ[NAME_VARIABLE] = handle.name
        return shown(self._started(found, handle))

    def use(self, lab: course.Lab, cluster: Any) -> None:
        """Work on a given lab and cluster (tests and authors; learners call `start`)."""
        self._session = course.Session(lab, cluster, told=_tell, said=_tell, pace=course.Pace())
        current = self._session.current()  # after a kernel's restart work goes on there
        self._namespace = current.namespace if current else "default"
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        from k8slab.notebook import magics  # noqa: PLC0415  magics need this class

        magics.register(self)

    def _started(self, lab: course.Lab, cluster: Any) -> View:
        there = cluster.list("nodes")
        nodes = ", ".join(map(meta.name_of, there))
        core = len(lab.core)
        head = f"{lab.title}: {core} exercises, about {lab.minutes} minutes"
        if more := len(lab.exercises) - core:
            head += f"; {more} more in the second notebook"
        line = f"cluster {cluster.name} ({cluster.provider}), nodes {nodes}"
        if other := " and ".join(_unlike_the_labs(there)):
            line += f"\n\n{_FITTING.format(other)}"
        if current := self.session.current():
            line += f"\n\nyou were at: {current.title} (namespace {current.namespace})"
        return View(f"{head}\n{line}", views.box(head, [views.paragraphs(line)]))

    # The cycle of an exercise.

    def begin(self, exercise: str) -> View:
        """Set an exercise up (or find it as you left it) and show its task."""
        return self._begun(self.session.begin(exercise))

    def catchup(self, exercise: str) -> View:
        """Begin an exercise without those before it; they are noted as passed over."""
        found = catch_up(self.session, exercise)
        view = self._begun(found.begun)
        shown(View(found.text, views.paragraphs(found.text)))
        return view

    def reset(self, exercise: str, *, keep_mine: bool = False) -> View:
        """Throw an exercise's namespace away and begin it again.

        With `keep_mine` your own objects are saved to a file first, and made again.
        """
        return self._begun(self.session.reset(exercise, keep_mine=keep_mine))

    def _begun(self, begun: course.Begun) -> View:
        self._namespace = begun.exercise.namespace
        view = views.begun_view(
            title=begun.exercise.title,
            task=begun.exercise.statement,
            namespace=begun.exercise.namespace,
            fresh=begun.fresh,
        )
        shown(view)
        for line in begun.told():
            shown(View(line, views.paragraphs(line)))
        return view

    def predict(self, prediction: str, choice: str = "", confidence: int = 3) -> View:
        """Ask for a prediction with a form, or note one: ``predict("id", "open", 4)``."""
        if not choice:
            found = self.session.lab.prediction(prediction)
            call = f'lab.predict("{prediction}", "{next(iter(found.choices))}")'
            question = form(
                found.heading,
                found.choices,
                call=call,
                save=lambda word, sure: self._note(prediction, word, sure),
                confidence=not found.quiz,
                before=self._before("prediction", prediction, "choice"),
            )
            return shown(question)
        text = self._note(prediction, choice, confidence)
        return shown(View(text, views.paragraphs(text)))

    def observe(self, prediction: str, seen: str = "") -> View:
        """Look at what was predicted; `seen` is what you saw yourself, in your words."""
        return shown(views.seen_view(self.session.observe(prediction, seen)))

    def explain(self, prediction: str, reason: str = "") -> View:
        """Ask for the reason with a form, or note one and show what is right."""
        if not reason:
            found = self.session.lab.prediction(prediction)
            if not found.reasons:
                raise UsageError(f"the prediction {prediction} has no reasons to choose from")
            call = f'lab.explain("{prediction}", "{next(iter(found.reasons))}")'
            question = form(
                f"{found.heading} Why?",
                found.reasons,
                call=call,
                save=lambda word, _sure: self._reason(prediction, word).text,
                confidence=False,
                before=self._before("reason", prediction, "reason"),
            )
            return shown(question)
        return shown(self._reason(prediction, reason))

    def _before(self, kind: str, prediction: str, field: str) -> tuple[str, int]:
        """Return what the journal has from an earlier time: the word, and the confidence or 0."""
        event = self.session.journal.last(self.session.lab.name, kind, prediction)
        return (event.data[field], event.data.get("confidence", 0)) if event else ("", 0)

    def _note(self, prediction: str, choice: str, confidence: int) -> str:
        found = self.session.predict(prediction, choice, confidence)
        sure = "" if found.quiz else f" (confidence {confidence} of 5)"
        return f"Noted: {found.choices[choice]}{sure}"

    def _reason(self, prediction: str, reason: str) -> View:
        return views.explained_view(self.session.explain(prediction, reason))

    def quiz(self, name: str) -> None:
        """Show the questions of a quiz; `quiz_result` says what is known already."""
        for answer in self.session.quiz(name):
            self.predict(answer.prediction.id)

    def quiz_result(self, name: str) -> View:
        """Show what is known already, what the cluster says, and which parts practise the rest."""
        return shown(views.quiz_view(self.session.quiz(name, look=True)))

    def names(self, exercise: str) -> dict[str, str]:
        """Return the names that your copy of an exercise has, by their words."""
        return dict(self.session.lab.exercise(exercise).names)

    def answer(self, question: str, value: object) -> View:
        """Note the answer to a question of an exercise; `check` compares it with the cluster."""
        text = f"{self.session.answer(question, value)} Noted: {value}"
        return shown(View(text, views.paragraphs(text)))

    def check(self, exercise: str, *, raise_on_fail: bool = False) -> ResultView:
        """Check an exercise by what the cluster does now.

        With `raise_on_fail` an exercise that is not solved raises `NotSolvedError`.
        """
        result = self.session.check(exercise)
        if raise_on_fail and not result.passed:
            raise NotSolvedError(result)
        return shown(views.result_view(result))

    def hint(self, exercise: str) -> View:
        """Give the next hint; each call goes one step further."""
        return shown(views.hint_view(self.session.hint(exercise)))

    def solution(self, exercise: str, *, force: bool = False) -> View:
        """Show a reference answer, after you have checked yours once; checks add no points then."""
        found = self.session.solution(exercise, force=force)
        return shown(views.solution_view(exercise, found))

    def challenge(
        self, fault: str = "", *, seed: int | None = None, level: int = 0, course: str = "",
        learner: str = "", minutes: float = 0,
    ) -> challenging.ChallengeView:  # fmt: skip
        """Break something and let you find it; the same call finds the challenge under way.

        `fault` is an id of the course's catalogue; without one, `seed` picks, else your own next
        seed, or that of `course` and `learner`. `level` goes from 1 to 3, `minutes` end it.
        """
        choice = Choice(
            fault=fault, seed=seed, level=level, course=course, learner=learner, minutes=minutes
        )
        view = challenging.begin(self.session, choice)
        self._namespace = view.namespace
        return view

    def challenges(self) -> View:
        """Show what came of your challenges; the fault of those that you solved or gave up."""
        return shown(challenging.history_view(self.session.journal))

    def progress(self) -> View:
        """Show the points, and what surprised you."""
        return shown(views.progress_view(self.session.progress()))

    # Looking at the cluster.

    def apply(self, text: str, namespace: str = "", *, seconds: float = 20.0) -> View:
        """Apply a manifest (server-side) and wait until its pods are ready."""
        return shown(apply_text(self.cluster, text, namespace or self._namespace, seconds=seconds))

    def kubectl(self, command: str | Sequence[str]) -> Output:
        """Run the real kubectl: ``kubectl("get pods -o wide")``; a failure is shown, not raised.

        Without ``-n`` it works in the namespace of the exercise that was begun last.
        """
        words = places.split(command)
        if words and words[0] == "kubectl":
            words = words[1:]
        own = words[: words.index("--")] if "--" in words else words
        given = any(w.partition("=")[0] in _NAMESPACE_OPTIONS or w[:2] == "-n" for w in own)
        full = [*self.cluster.kubectl, *([] if given else ["-n", self._namespace]), *words]
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig)}
        done = programs.run(full, env=environment, check=False, deadline=120)
        return places.output(done, shlex.join(full))

    def wait(self, what: str, until: str = "ready", *, seconds: float = 60.0) -> View:
        """Wait for an object of the exercise: ``wait("deployment/web")``, ``"pod/a", "delete"``.

        `until` has the words of ``kubectl wait --for`` (and ``ready``, in the kind's sense).
        """
        resource, _, name = what.partition("/")
        self.cluster.wait(resource, name, self._namespace, until=until, deadline=seconds)
        text = f"{what}: {until}"
        return shown(View(text, views.paragraphs(text)))

    def pod(self, name: str) -> places.Pod:
        """Return a pod, ``NAME``, ``NAMESPACE/NAME`` or ``deployment/NAME``, to run commands in."""
        party = probes.one_pod(self.cluster, Party.parse(name, self._namespace))
        return places.Pod(self.cluster, party.namespace, party.name)

    def node(self, name: str) -> places.Node:
        """Return a node, by name or its ending (``worker2``), to run commands on."""
        return places.find_node(self.cluster, name)

    def reach(self, source: str, destination: str, port: int, protocol: str = "TCP") -> View:
        """Try one flow and show its outcome."""
        flow = probes.Flow.of(source, destination, port, protocol, namespace=self._namespace)
        seen = probes.observe(self.cluster, probes.expand(self.cluster, [flow]))
        lines = [f"{one.outcome.sign} {one}" for one in seen]
        return shown(View("\n".join(lines), views.listed(lines)))

    def resolve(self, pod: str, name: str, *, command: str = "") -> views.LookupView:
        """Look a name up in a pod and show each query that it costs, as picture and table.

        `command` looks it up instead of the C library's resolver, for example ``dig +search web``.
        """
        party = probes.one_pod(self.cluster, Party.parse(pod, self._namespace))
        found = lookups.look_up(self.cluster, party, name, command=places.words(command))
        parts = [lookup_graph.picture(found).html(), _details(lookup_graph.table(found))]
        html = views.box(lookup_graph.summary(found), parts)
        return shown(views.LookupView(lookup_graph.text(found), html, found))

    def decide(
        self, source: str, destination: str, port: int | str, protocol: str = "TCP",
        *, also: str = "",
    ) -> judging.Judged:  # fmt: skip
        """Say what policies decide about a flow, and why; no packet is sent.

        `also` are manifests of policies, judged as if they were applied.
        """
        flow = probes.Flow.of(source, destination, port, protocol, namespace=self._namespace)
        added = judging.read(also, self._namespace)
        return shown(judging.decide(inventory(self.cluster), flow, added))

    def denials(self, *namespaces: str) -> View:
        """Show the flow log: what policies denied to pods of the exercise's namespaces."""
        return shown(judging.denials(self.cluster, namespaces or self._spaces()))

    def audit(
        self, *checks: str, rules: str = "", estate: Sequence[dict] | None = None
    ) -> judging.Audited:  # fmt: skip
        """Audit the policies of the exercise's namespaces, or of an estate; all checks or some.

        `rules` is a rule file, by path or by the name of one that is shipped.
        """
        objects = inventory(self.cluster) if estate is None else estate
        spaces = self._spaces() if estate is None else ()
        return shown(judging.audited(objects, checks, rules, spaces))

    def estate(self, pods: int, policies: int, namespaces: int, *, seed: int | str) -> list[dict]:
        """Return a large estate made from a seed, for `audit`; it is not put on the cluster."""
        return judging.estate(pods, policies, namespaces, int(seed))

    def range(self, block: str, *addresses: str) -> View:
        """Show a range of addresses bit by bit, and whether some addresses are in it."""
        text = explain_range(block, *addresses)
        return shown(View(text, views.listed(text.splitlines())))

    def matrix(
        self, *pods: str, ports: Sequence[int | str] = (), to: Sequence[str] = (),
        namespace: str = "",
    ) -> View:  # fmt: skip
        """Let everybody try to reach everybody: all pods of the namespace, on their own ports.

        `to` names other destinations than the sources; both may be any party of a flow.
        """
        space = namespace or self._namespace
        objects = self._pods(space)
        parties = [Party.parse(name, space) for name in pods] or [
            Party("pod", meta.name_of(pod), space) for pod in objects
        ]
        wanted = list(ports) or _declared_ports(objects)
        if not parties or not wanted:
            raise UsageError(
                f"nothing to try in {space}",
                hint="give pods and ports: matrix('a', 'b', ports=[80])",
            )
        parties = probes.resolve(self.cluster, parties)
        targets = probes.resolve(self.cluster, [Party.parse(name, space) for name in to])
        found = probes.matrix(self.cluster, parties, wanted, destinations=targets or None)
        picture = matrix_graph.picture(found)
        html = picture.html() + _details(matrix_graph.table(found))
        return shown(View(found.text(), html))

    def topology(self, namespace: str = "") -> View:
        """Draw nodes, pods and Services of the exercise's namespace (or of a given one)."""
        space = namespace or self._namespace
        found = graphs.Topology.of(
            self.cluster.list("nodes"), self._pods(space), self.cluster.list("services", space)
        )
        return shown(View(found.text(), found.picture().html() + _details(found.table())))

    def journey(
        self, source: str, destination: str, port: int | str, protocol: str = "TCP",
        *, from_port: int = 0, size: int = 0, debug_image: str = "",
    ) -> View:  # fmt: skip
        """Follow one real packet to its destination and back, and show where it is lost.

        It is sent from `from_port`, also where a program of the source has it (UDP). A datagram
        carries `size` bytes, and must not be cut on its way; 0 is any port, and a few bytes.
        Where no kernel can be asked captures tell less; with `debug_image` (which has python3)
        containers of this image capture too, on nodes and in pods that cannot by themselves.
        """
        flow = probes.Flow.of(source, destination, port, protocol, namespace=self._namespace)
        packet = Packet(from_port, size)
        return _shown_or_told(
            lambda: pictures.journey_view(self.cluster, flow, packet, debug_image)
        )

    def service(self, name: str, *, node: str = "") -> View:
        """Draw a Service, its endpoints, and the rules that a node (one worker) has for it."""
        party = Party.parse(f"svc:{name}", self._namespace)
        at = places.find_node(self.cluster, node).name if node else ""
        return _shown_or_told(lambda: pictures.service_view(self.cluster, party, at))

    def policies(self, *namespaces: str) -> View:
        """Draw what policies allow in the exercise's namespaces; click an edge to see why.

        Whoever is in another namespace is in it too, those together that mean the same here.
        """
        spaces = namespaces or self._spaces()
        return shown(pictures.policies_view(inventory(self.cluster), spaces))

    def _spaces(self) -> list[str]:
        exercise = self.session.current()
        return exercise.namespaces if exercise else [self._namespace]

    def _pods(self, namespace: str) -> list[dict]:
        found = self.cluster.list("pods", namespace)
        return [pod for pod in found if not meta.is_deleting(pod)]


def _shown_or_told(look: Callable[[], View]) -> View:
    """Show what a look gives; where somebody is not there say so: an untouched lab runs on."""
    try:
        return shown(look())
    except ProbeError as error:
        return shown(View(str(error), views.paragraphs(str(error))))


def _declared_ports(pods: Sequence[dict]) -> list[str]:
    found = {
        f"{port['containerPort']}/{port.get('protocol') or 'TCP'}"
        for pod in pods
        for container in pod.get("spec", {}).get("containers") or ()
        for port in container.get("ports") or ()
    }
    return sorted(found, key=lambda text: (int(text.partition("/")[0]), text))


def _unlike_the_labs(nodes: Sequence[dict]) -> Iterator[str]:
    """Say what of a cluster is other than the labs mean."""
    if not ipv4_first(nodes):
        yield "the first addresses are IPv6"
    if len(workers(nodes)) == 1:
        yield "one node takes all pods"


def _details(table: str) -> str:
    return f"<details><summary>The same as a table</summary>{table}</details>"


def _tell_in_place(line: str) -> None:
    """Write over the line before: the steps of a start are of interest only while it lasts."""
    sys.stdout.write(f"\r{line:<60}")
    sys.stdout.flush()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
