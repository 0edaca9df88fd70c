"""Counters and histograms in the Prometheus text format, with CoreDNS' names."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

Labels = tuple[tuple[str, str], ...]

BUCKETS = tuple(0.00025 * 2**power for power in range(16))
"""Seconds; plugin.TimeBuckets of CoreDNS."""

_HELP = {
    "coredns_build_info": "A metric with a constant '1' value labeled by version.",
    "coredns_dns_requests_total": "Counter of DNS requests made per zone, protocol and family.",
    "coredns_dns_responses_total": "Counter of response status codes.",
    "coredns_dns_request_duration_seconds": "Histogram of the time each request took.",
    "coredns_cache_hits_total": "The count of cache hits.",
    "coredns_cache_misses_total": "The count of cache misses.",
    "coredns_cache_requests_total": "The count of cache requests.",
    "coredns_cache_entries": "The number of elements in the cache.",
    "coredns_proxy_request_duration_seconds": "Histogram of the time each upstream took.",
    "coredns_forward_max_concurrent_rejects_total": "Queries rejected at max_concurrent.",
    "coredns_reload_failed_total": "Counter of the number of failed reload attempts.",
    "coredns_plugin_enabled": "A metric that indicates whether a plugin is enabled.",
}
_GAUGES = ("coredns_build_info", "coredns_cache_entries", "coredns_plugin_enabled")


class Metrics:
    """All series of one process."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._histograms: dict[str, dict[Labels, list[float]]] = defaultdict(dict)

    def count(self, name: str, labels: Labels = (), amount: float = 1) -> None:
        """Add to a counter."""
        self._values[name][labels] += amount

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self._values[name][labels] = value

    def forget(self, name: str) -> None:
        """Drop all series of a gauge, before they are set anew."""
        self._values.pop(name, None)

    def observe(self, name: str, labels: Labels, seconds: float, times: int = 1) -> None:
        """Put `times` observations of `seconds` each into a histogram."""
        series = self._histograms[name].get(labels)
        if series is None:
            # One count for each bucket, one beyond the last, then the sum.
            series = self._histograms[name][labels] = [0.0] * (len(BUCKETS) + 2)
        series[bisect_left(BUCKETS, seconds)] += times
        series[-1] += seconds * times

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of the series that have these labels."""
        wanted = set(labels.items())
        return sum(amount for given, amount in self._values[name].items() if wanted <= set(given))

    def render(self) -> str:
        """Return the page that Prometheus scrapes (text format 0.0.4)."""
        lines: list[str] = []
        for name in sorted(self._values):
            kind = "gauge" if name in _GAUGES else "counter"
            lines += _header(name, kind)
            for labels, value in sorted(self._values[name].items()):
                lines.append(f"{name}{_written(labels)} {value:g}")
        for name in sorted(self._histograms):
            lines += _header(name, "histogram")
            for labels, series in sorted(self._histograms[name].items()):
                lines += _histogram(name, labels, series)
        return "\n".join(lines) + "\n"


def _header(name: str, kind: str) -> list[str]:
    return [f"# HELP {name} {_HELP.get(name, name)}", f"# TYPE {name} {kind}"]


def _histogram(name: str, labels: Labels, series: list[float]) -> list[str]:
    lines = []
    total = 0.0
    for bound, amount in zip((*BUCKETS, None), series, strict=False):
        total += amount
        edge = "+Inf" if bound is None else f"{bound:g}"
        lines.append(f"{name}_bucket{_written((*labels, ('le', edge)))} {total:g}")
    lines.append(f"{name}_sum{_written(labels)} {series[-1]:.9g}")
    lines.append(f"{name}_count{_written(labels)} {total:g}")
    return lines


def _written(labels: Labels) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for name, value in labels
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
