"""The names and numbers of a challenge: drawn from its seed, so no two look alike.

A recipe and its scenes are texts with ``<<words>>``. Words for parties come from lists, ports
and the namespace are drawn too; nodes are the cluster's own, in a drawn order. ``<<NAME-typo>>``
is NAME with two letters exchanged, as fingers do it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTIES = {
    "client": ("web", "portal", "kiosk", "frontend", "counter", "desk", "mobile"),
    "server": ("orders", "catalog", "pricing", "booking", "search", "profile", "basket"),
    "store": ("ledger", "archive", "stock", "vault", "journal", "register", "records"),
    "other": ("mailer", "report", "audit", "batch", "printer", "export", "backup"),
    "partner": ("supplier", "courier", "bank", "insurer", "agency", "carrier", "broker"),
}
SPACES = ("shop", "clinic", "museum", "library", "station", "harbour", "theatre", "bakery")
WORD_RANGE = 0xFFFF


def words(seed: int, nodes: Sequence[str]) -> dict[str, str]:
    """Return every word of a challenge; `nodes` are those that take its pods, at least one."""
    draw = random.Random(f"challenge/{seed}")
    found = {role: draw.choice(names) for role, names in PARTIES.items()}
    found |= {f"{role}-typo": typo(name, draw) for role, name in [*found.items()]}
    port = draw.randrange(8100, 8900)
    found |= {"port": str(port), "wrong-port": str(port + draw.choice((1, 8, 10, 100)))}
    found |= {"seed": str(seed), "server-variable": found["server"].upper()}
    found["service-port"] = str(draw.choice((80, 81, 88, 800, 8000, 8008)))
    found["node-port"] = str(draw.randrange(30200, 32700))
    found["host-port"] = str(draw.randrange(9100, 9900))
    found["udp-port"] = str(draw.randrange(5100, 5900))
    found["namespace"] = f"{draw.choice(SPACES)}-{draw.randrange(WORD_RANGE):04x}"
    order = draw.sample(sorted(nodes), len(nodes))
    # A cluster of one node has no second: recipes that need two say so (`seeds.possible`).
    found |= {"worker": order[0], "worker2": order[-1]}
    return found


def typo(name: str, draw: random.Random) -> str:
    """Return a name with two neighbouring letters exchanged, always another text."""
    places = [at for at in range(1, len(name) - 1) if name[at] != name[at + 1]]
    at = draw.choice(places)
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
