"""The DNS server that runs as the CoreDNS pods: ``-conf /etc/coredns/Corefile``.

Corefile -> server blocks -> one chain of plugins each; one `DnsPort` for each port; a `Watcher`
that keeps names in step with the API. When the Corefile's text changes the chains are built
anew and exchanged; a Corefile that is wrong changes nothing and is told in the log.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # asyncio and ssl ask for this codec, and nothing can be imported later
import os
import signal
import ssl
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from k8slab.embedded.apps.options import parse as parse_options
from k8slab.embedded.dns import corefile
from k8slab.embedded.dns.catalogue import Catalogue
from k8slab.embedded.dns.chain import Plan, Query, Result, refuse
from k8slab.embedded.dns.checksum import checksum
from k8slab.embedded.dns.kubeapi import ApiAccess, Watcher
from k8slab.embedded.dns.listener import DnsPort
from k8slab.embedded.dns.metrics import Metrics
from k8slab.embedded.dns.pages import Page, serve_pages
from k8slab.embedded.dns.plugins import build
from k8slab.errors import UsageError
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

assert encodings.idna is not None

DEFAULT_FILE = "/etc/coredns/Corefile"
READY_SECONDS = 0.8
"""How long /ready waits for the names; a kubelet's probe waits 1 s by default."""


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Serve until SIGTERM; return 0 then, 1 when the Corefile or the environment is wrong."""
    try:
        values, _ = parse_options(
            argv, {"conf": True, "dns.port": True, "quiet": False}, program="coredns"
        )
        corefile_path = values.get("conf", [DEFAULT_FILE])[-1]
        port = int(values.get("dns.port", [str(corefile.DEFAULT_PORT)])[-1])
        return asyncio.run(DnsServer(Path(corefile_path), environment, port).run())
    except (UsageError, OSError) as error:
        say(str(error))
        return 1
    except SystemExit as stopped:
        return int(stopped.code or 0)


def say(line: str) -> None:
    """Write one line to stdout, as CoreDNS does with all of its log."""
    os.write(1, line.encode("utf-8", "replace") + b"\n")


class DnsServer:
    """The whole process."""

    def __init__(self, file: Path, environment: Mapping[str, str], default_port: int) -> None:
        self.file = file
        self.environment = environment
        self.metrics = Metrics()
        self.catalogue = Catalogue()
        self.plan = self._new_plan()
        self.ports: dict[int, DnsPort] = {}
        self._default_port = default_port
        self._pages: dict[str, asyncio.Server] = {}
        self._watcher: Watcher | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._checksum = ""
        self._seen = ""
        """The text of the Corefile when it was last looked at."""
        self._starting: set[asyncio.Future[None]] = set()

    async def run(self) -> int:
        """Serve until `stop`; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR1, self._wake.set)  # look at the Corefile now
        text = self.file.read_text()
        await self.load(text)
        self._checksum = checksum(text, file=str(self.file))
        self._greet()
        await self._serve_until_stopped()
        if self.plan.lameduck:
            say(f"[INFO] plugin/health: Going into lameduck mode for {self.plan.lameduck:g}s")
            await asyncio.sleep(self.plan.lameduck)
        await self.close()
        return 0

    def stop(self) -> None:
        """Leave; after the lameduck time, if the Corefile has one."""
        self._stopping = True
        self._wake.set()

    async def load(self, text: str) -> None:
        """Serve a Corefile; a `CorefileError` leaves everything as it was."""
        plan = self._new_plan()
        blocks = corefile.parse(text, file=str(self.file), default_port=self._default_port)
        sites = [build(block, plan) for block in blocks]
        plan.dispatch = self._dispatch
        plan.synced = self._synced
        self._follow(plan)
        opened = self._open_ports({site.block.port for site in sites})
        for number, port in self.ports.items():
            port.serve([site for site in sites if site.block.port == number], plan)
        for close in self.plan.closers:
            close()
        self.plan = plan
        for port in opened:
            await port.start()
        await self._serve_pages(plan)
        for start in plan.starters:
            task = asyncio.ensure_future(start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    def _open_ports(self, wanted: set[int]) -> list[DnsPort]:
        """Close the ports that are not wanted any more; return those that are new."""
        opened = {number: DnsPort(number) for number in sorted(wanted - set(self.ports))}
        for number in set(self.ports) - wanted:
            self.ports.pop(number).close()
        self.ports |= opened
        return list(opened.values())

    async def close(self) -> None:
        """Close everything that is open."""
        for port in self.ports.values():
            port.close()
        for server in self._pages.values():
            server.close()
        for close in self.plan.closers:
            close()
        if self._watcher is not None:
            await self._watcher.close()

    def _new_plan(self) -> Plan:
        return Plan(catalogue=self.catalogue, metrics=self.metrics, file=str(self.file), say=say)

    def _dispatch(self, query: Query) -> Result:
        port = self.ports.get(corefile.DEFAULT_PORT) or next(iter(self.ports.values()), None)
        return port.dispatch(query) if port else refuse(query)

    def _synced(self) -> bool:
        return self._watcher is None or self._watcher.synced

    def _follow(self, plan: Plan) -> None:
        if not plan.needs:
            return
        if self._watcher is None:
            access = ApiAccess.in_cluster(self.environment)
            self._watcher = Watcher(access, self.catalogue, say)
        self._watcher.follow(plan.needs)

    async def _serve_until_stopped(self) -> None:
        """Wait for `stop`; meanwhile look at the Corefile as often as it asks for."""
        while not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.plan.reload_seconds or None):
                    await self._wake.wait()
            self._wake.clear()
            if not self._stopping:
                await self._reload_if_changed()

    async def _reload_if_changed(self) -> None:
        """Take a changed Corefile; one that is refused is not tried again, as with CoreDNS."""
        try:
            text = self.file.read_text()
            if text == self._seen:
                return
            self._seen = text
            found = checksum(text, file=str(self.file))
        except FileNotFoundError:
            return  # CoreDNS says nothing either, and runs on with what it has read
        except (UsageError, OSError, UnicodeDecodeError) as error:
            say(f"[WARNING] plugin/reload: Corefile parse failed: {error}")
            return
        if found == self._checksum:
            return
        self._checksum = found
        say("[INFO] Reloading")
        try:
            await self.load(text)
        except (UsageError, OSError) as error:
            self.metrics.count("coredns_reload_failed_total")
            say(f"[ERROR] Restart failed: {error}")
            say(f"[ERROR] plugin/reload: Corefile changed but reload failed: {error}")
            return
        self._say_checksum()
        say("[INFO] Reloading complete")

    async def _serve_pages(self, plan: Plan) -> None:
        """Open the HTTP addresses that are new and close those that are gone."""
        wanted: dict[str, dict[str, Page]] = {}
        for address in plan.health:
            wanted.setdefault(address, {})["/health"] = _healthy
        for address in plan.ready:
            wanted.setdefault(address, {})["/ready"] = self._ready
        for address in plan.prometheus:
            wanted.setdefault(address, {})["/metrics"] = self._metrics
        for address in set(self._pages) - set(wanted):
            self._pages.pop(address).close()
        for address in set(wanted) - set(self._pages):
            self._pages[address] = await serve_pages(address, wanted[address])

    async def _ready(self) -> tuple[int, str]:
        """Answer when the names are complete; say 503 only if that does not come soon.

        Whoever probes would else come back after a whole period, 10 s, for what lacks 20 ms.
        """
        synced = self._watcher is None or await self._watcher.wait_synced(READY_SECONDS)
        return (200, "OK") if synced else (503, "kubernetes")

    async def _metrics(self) -> tuple[int, str]:
        for port in self.ports.values():
            port.flush()
        return 200, self.metrics.render()

    def _greet(self) -> None:
        for port in self.ports.values():
            for zone in port.zones:
                say(f"{zone}:{port.port}")
        self._say_checksum()
        say(f"k8slab-dns-{__version__} in place of CoreDNS")
        say(f"linux/{os.uname().machine}, python{sys.version.split()[0]}, {ssl.OPENSSL_VERSION}")

    def _say_checksum(self) -> None:
        if self.plan.reload_seconds:
            say(f"[INFO] plugin/reload: Running configuration SHA512 = {self._checksum}")


async def _healthy() -> tuple[int, str]:
    return 200, "OK"
