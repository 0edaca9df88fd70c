"""Somebody who changes a cluster at random, by a seed, and writes down what was answered.

Each player works in namespaces of its own, so that it knows what should be there; several at
once make the cluster busy. What a player does is in `operations`.
"""

import random
import threading
import time
from dataclasses import dataclass

import operations
from faults_kit import LAB
from ledger import RESOURCES

from k8slab.errors import ApiStatusError, ClusterNotReadyError

SLOW = 25.0
"""Seconds after which an answer counts as a hang: a little less than a request waits for one."""
MERGE = "application/merge-patch+json"
FINE = {404, 409, 422}
"""A name may be taken by a pod that is still ending; it may have gone since it was looked up."""


@dataclass(frozen=True)
class Done:
    """One operation and what came of it."""

    player: str
    text: str
    outcome: str
    began: float
    seconds: float

    def __str__(self):
        return f"{self.began:9.3f} {self.player} {self.text}: {self.outcome} ({self.seconds:.3f} s)"


class Player(threading.Thread):
    """One of those who change the cluster: `start` it, `stop` it, and read what it `did`."""

    def __init__(self, cluster, name, seed, ledger):
        super().__init__(name=name, daemon=True)
        self.cluster = cluster
        self.space = name
        self.side = f"{name}-side"
        self.ledger = ledger
        self.random = random.Random(seed)
        self.did = []
        self.complaints = []
        self.cordoned = ""
        self.silenced = ""
        self._stopping = threading.Event()

    def run(self):
        """Play until told to stop, or until the cluster does not answer any more."""
        try:
            while not self._stopping.is_set():
                self.play_one()
            self.tidy()
        except ClusterNotReadyError:
            return  # whoever killed the cluster knows
        except Exception as error:  # noqa: BLE001  - the thread's end: told, then it ends
            self.complaints.append(f"{self.space}: {type(error).__name__}: {error}")
        finally:
            self.cluster.rest.close()

    def stop(self):
        """Have the player end after what it is doing now."""
        self._stopping.set()

    def play_one(self):
        """Do one operation of those in `operations.PLAYS`."""
        plays = operations.PLAYS
        (chosen,) = self.random.choices([*plays], [*plays.values()])
        text, outcome, began = "", "no answer", time.monotonic()
        try:
            text = chosen(self)
            outcome = "done"
        except ApiStatusError as error:
            outcome = f"{error.code} {error.message}"
            if error.code not in FINE:
                self.complaints.append(f"{chosen.__name__}: {outcome}")
        finally:
            seconds = time.monotonic() - began
            words = f"{chosen.__name__} {text}"
            self.did.append(Done(self.space, words, outcome, began, seconds))
            if seconds > SLOW:
                self.complaints.append(f"it took too long: {self.did[-1]}")

    def tidy(self):
        """Undo what keeps the cluster from being whole."""
        self.cordon("")
        self.silence("")

    # --- what operations are made of

    def pick(self, *choices):
        """Choose one."""
        return self.random.choice(choices)

    def apply(self, obj, namespace=None):
        """Apply an object and note the answer; returns what was applied."""
        where = self.space if namespace is None else namespace

        def write():
            (made,) = self.cluster.apply([obj], namespace=where)
            return made

        return self._write(obj["kind"], where, obj["metadata"]["name"], write, obj)

    def merge(self, kind, path, name, change):
        """Patch an object of this player's namespace (JSON merge patch) and note the answer."""
        group, resource = path.rsplit("/", 1)
        target = f"{group}/namespaces/{self.space}/{resource}/{name}"

        def write():
            return self.cluster.request("PATCH", target, change, content_type=MERGE)

        return self._write(kind, self.space, name, write, change, patch=True)

    def _write(self, kind, namespace, name, write, wanted, *, patch=False):
        self.ledger.sent(kind, namespace, name)
        try:
            made = write()
        except ApiStatusError as error:
            if error.code < 500:
                self.ledger.refused(kind, namespace, name)
            raise
        if made["metadata"].get("deletionTimestamp"):
            self.ledger.deleted(kind, namespace, name)
            return f"{kind} {name}, which is ending"
        self.ledger.written({"kind": kind, **made}, wanted, patch=patch)
        return f"{kind} {name}"

    def delete(self, kind, name, namespace, *, grace=None):
        """Delete an object and note that it was accepted."""
        self.ledger.sent(kind, namespace, name)
        self.cluster.delete(RESOURCES[kind], name, namespace, grace=grace)
        self.ledger.deleted(kind, namespace, name)
        return f"{kind} {name} (grace {grace})"

    def delete_one(self, kind, **more):
        """Delete some object of a kind, if there is one."""
        names = self.ledger.names(kind, self.space)
        return self.delete(kind, self.pick(*names), self.space, **more) if names else "nothing"

    def cordon(self, node):
        """Keep new pods from `node`, and let them onto the one that was cordoned before."""
        for name, value in ((self.cordoned, None), (node, True)):
            if name:
                body = {"spec": {"unschedulable": value}}
                self.cluster.request("PATCH", f"/api/v1/nodes/{name}", body, content_type=MERGE)
        self.cordoned = node
        return node or "none"

    def silence(self, node):
        """Stop a node's agent, and start the one that was stopped before."""
        for name, running in ((self.silenced, True), (node, False)):
            if name:
                self.cluster.request("POST", f"{LAB}/nodes/{name}/agent", {"running": running})
        self.silenced = node
        return node or "none"

    def ready_pods(self):
        """Return the names of the Ready pods of this player that are not being deleted."""
        return [
            item["metadata"]["name"]
            for item in self.cluster.list("pods", self.space)
            if not item["metadata"].get("deletionTimestamp")
            and any(
                entry["type"] == "Ready" and entry["status"] == "True"
                for entry in (item.get("status") or {}).get("conditions") or ()
            )
        ]
