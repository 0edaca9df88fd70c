"""The plugins of this server, in the one order in which they are called.

CoreDNS compiles that order in; the order of the lines in a Corefile means nothing. It is
taken from CoreDNS' plugin.cfg, without the plugins that are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k8slab.embedded.dns.cache import cache
from k8slab.embedded.dns.chain import Handler, Plan, Site, Wrap, refuse
from k8slab.embedded.dns.durations import seconds
from k8slab.embedded.dns.forward import forward, loop
from k8slab.embedded.dns.observing import errors, loadbalance, log, prometheus
from k8slab.embedded.dns.rewrite import rewrite
from k8slab.embedded.dns.sources import hosts, kubernetes

if TYPE_CHECKING:
    from k8slab.embedded.dns.corefile import Directive, ServerBlock

Setup = Callable[["Directive", Site, Plan], Wrap | None]

RELOAD_SECONDS = 0.5
"""How often the Corefile is looked at. CoreDNS: 30 s (with jitter); nobody learns by waiting."""


def reload(directive: Directive, _site: Site, plan: Plan) -> None:
    """Look for a changed Corefile from time to time."""
    plan.reload_seconds = RELOAD_SECONDS
    if directive.arguments:
        plan.reload_seconds = seconds(directive, directive.arguments[0])
        if 0 < plan.reload_seconds < 2:
            raise directive.error("interval value must be greater or equal to 2s")


def ready(directive: Directive, _site: Site, plan: Plan) -> None:
    """Tell readiness over HTTP."""
    plan.ready.append(directive.arguments[0] if directive.arguments else ":8181")


def health(directive: Directive, _site: Site, plan: Plan) -> None:
    """Tell health over HTTP, and linger before leaving (``lameduck``)."""
    plan.health.append(directive.arguments[0] if directive.arguments else ":8080")
    for line in directive.properties:
        if line.words[0] != "lameduck" or len(line.words) != 2:
            raise directive.error(f"unknown property '{line.words[0]}'", line)
        plan.lameduck = seconds(directive, line.words[1], line)


PLUGINS: dict[str, Setup] = {
    "reload": reload,
    "ready": ready,
    "health": health,
    "prometheus": prometheus,
    "errors": errors,
    "log": log,
    "loadbalance": loadbalance,
    "cache": cache,
    "rewrite": rewrite,
    "hosts": hosts,
    "kubernetes": kubernetes,
    "loop": loop,
    "forward": forward,
}

ELSEWHERE = frozenset(
    (
        "acl",
        "any",
        "auto",
        "autopath",
        "azure",
        "bind",
        "bufsize",
        "cancel",
        "chaos",
        "clouddns",
        "debug",
        "dns64",
        "dnssec",
        "dnstap",
        "erratic",
        "etcd",
        "file",
        "geoip",
        "grpc",
        "header",
        "import",
        "k8s_external",
        "local",
        "metadata",
        "minimal",
        "multisocket",
        "nsid",
        "pprof",
        "quic",
        "root",
        "route53",
        "secondary",
        "sign",
        "template",
        "timeouts",
        "tls",
        "trace",
        "transfer",
        "tsig",
        "view",
        "whoami",
    )
)
"""What CoreDNS has and this server has not."""


def build(block: ServerBlock, plan: Plan) -> Site:
    """Return the block's chain; raises `CorefileError` for what cannot be served."""
    for directive in block.directives:
        if directive.name in ELSEWHERE:
            known = ", ".join(PLUGINS)
            raise directive.line.error(
                f"plugin '{directive.name}' is not part of this server, which has {known}"
            )
        if directive.name not in PLUGINS:
            raise directive.line.error(f"Unknown directive '{directive.name}'")
    site = Site(block)
    wraps: list[Wrap] = []
    for name, setup in PLUGINS.items():
        for directive in _occurrences(block, name):
            wrap = setup(directive, site, plan)
            if wrap is not None:
                wraps.append(wrap)
            plan.metrics.set(
                "coredns_plugin_enabled",
                (("name", name), ("server", site.label), ("view", ""), ("zone", block.zones[0])),
                1,
            )
    handler: Handler = refuse
    for wrap in reversed(wraps):
        handler = wrap(handler)
    site.handler = handler
    return site


def _occurrences(block: ServerBlock, name: str) -> list[Directive]:
    found = [each for each in block.directives if each.name == name]
    # All rewrite lines are the rules of one plugin.
    return found[:1] if name == "rewrite" else found
