"""The connectivity matrix: everybody tries to reach everybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.policy import Flow, Party
from k8slab.probes.observe import DEADLINE, observe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.probes.outcome import Observation


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the matrix, written ``80`` or ``53/UDP``."""

    number: int
    protocol: str = "TCP"

    @classmethod
    def parse(cls, text: str | int) -> Port:
        """Read ``80``, ``"80"`` or ``"53/UDP"``."""
        number, _, protocol = str(text).partition("/")
        return cls(int(number), (protocol or "TCP").upper())

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Observed outcomes of sources (rows) by destinations and ports (columns)."""

    sources: tuple[Party, ...]
    destinations: tuple[Party, ...]
    ports: tuple[Port, ...]
    cells: Mapping[tuple[Party, Party, Port], Observation]
    """A pod to itself is left out."""

    def text(self) -> str:
        """Return the matrix as a table of signs with its legend."""
        columns = [(d, port) for d in self.destinations for port in self.ports]
        width = max((len(str(source)) for source in self.sources), default=0)
        heads = [f"{number}" for number in range(1, len(columns) + 1)]
        lines = [" " * width + "  " + " ".join(f"{head:>3}" for head in heads)]
        for source in self.sources:
            signs = [self._sign(source, *column) for column in columns]
            lines.append(f"{source!s:<{width}}  " + " ".join(f"{sign:>3}" for sign in signs))
        legend = [f"{n}: {d} {port}" for n, (d, port) in enumerate(columns, 1)]
        outcomes = {seen.outcome for seen in self.cells.values()}
        signs = [f"{o.sign} {o.value}" for o in sorted(outcomes, key=lambda o: o.value)]
        return "\n".join([*lines, "", *legend, ", ".join(signs)])

    def _sign(self, source: Party, destination: Party, port: Port) -> str:
        seen = self.cells.get((source, destination, port))
        return seen.outcome.sign if seen else "-"


def matrix(
    cluster: Any,
    pods: Sequence[Party],
    ports: Sequence[int | str],
    *,
    destinations: Sequence[Party] | None = None,
    deadline: float = DEADLINE,
) -> Matrix:
    """Probe every pair of `pods` (or from `pods` to `destinations`) on every port."""
    targets = tuple(pods if destinations is None else destinations)
    wanted = tuple(Port.parse(port) for port in ports)
    keys = [
        (source, target, port)
        for source in pods
        for target in targets
        if source != target
        for port in wanted
    ]
    flows = [Flow(source, target, port.number, port.protocol) for source, target, port in keys]
    seen = observe(cluster, flows, deadline)
    return Matrix(tuple(pods), targets, wanted, dict(zip(keys, seen, strict=True)))
