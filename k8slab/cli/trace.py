"""trace: one real packet followed through the cluster."""

from __future__ import annotations

from pathlib import Path

import click

from k8slab.cli import options, sources
from k8slab.cli.console import UNDECIDED, show, show_json, steps, tell, undecided, write_file
from k8slab.cli.flows import from_words
from k8slab.errors import UsageError
from k8slab.objects.packets import LEAST_TRACED, MOST_DATAGRAM, MOST_PORT

FORMATS = ("svg", "png", "pdf", "dot")
PARTIES = (
    "SRC is NAMESPACE/POD, NAMESPACE/deployment/NAME (its first pod), node:NAME or world:HOST; "
    "DST may also be svc:NAMESPACE/NAME, ip:ADDRESS or name:HOST. PORT is a number, or the name of "
    "a port of the destination, /UDP after it where it is not TCP."
)


@click.command(epilog=PARTIES)
@click.argument(
    "flow",
    nargs=-1,
    metavar="SRC DST PORT[/PROTOCOL]",
    shell_complete=sources.complete_parties,
)
@click.option(
    "--pcap",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    callback=options.placed,
    help="Write the captured packets as pcapng, for Wireshark.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    callback=options.placed,
    help="Write a picture; the form follows the ending: .svg, .png, .pdf or .dot.",
)
@click.option(
    "--from-port",
    type=click.IntRange(1, MOST_PORT),
    metavar="PORT",
    help="Send it from this port, also where a program of the source has it (UDP).",
)
@click.option(
    "--bytes",
    "size",
    type=click.IntRange(LEAST_TRACED, MOST_DATAGRAM),
    metavar="N",
    help="Send a datagram (UDP) that carries so many bytes and must not be cut on its way.",
)
@click.option(
    "--predict/--no-predict", default=True, help="Also say what the policies predict (default)."
)
@click.option(
    "--debug-image",
    default="",
    metavar="IMAGE",
    help="Where the kernel cannot be asked: capture with containers of this image too, which has"
    " python3: a pod on each node, and ephemeral ones in pods without it, which stay there.",
)
@options.name
@options.as_json
def trace(  # noqa: PLR0913  one parameter for each option
    *,
    flow: tuple[str, ...],
    pcap: str | None,
    out: str | None,
    from_port: int | None,
    size: int | None,
    predict: bool,
    debug_image: str,
    name: str,
    as_json: bool,
) -> int:
    """Follow one real packet, hop by hop, to its destination and back.

    Shows the interfaces that it passes, the Service and the endpoint that is drawn, each policy's
    rule, how addresses are rewritten, the routes, and where it is lost the hop and the rule.
    Clusters that are not embedded tell less: what captures in the pods at both ends see.
    Exit code 1 when it does not get there, 4 when that could not be found out.
    """
    from k8slab.graphs.journey import JourneyGraph  # noqa: PLC0415
    from k8slab.probes.journey import Packet, journey  # noqa: PLC0415
    from k8slab.probes.outcome import Outcome  # noqa: PLC0415

    wanted = from_words(flow)
    packet = Packet(from_port or 0, size or 0).of(wanted)
    form = Path(out).suffix.lstrip(".") if out else ""
    if out and form not in FORMATS:
        raise UsageError(
            f"there is no form {form!r}", hint=f"end the file's name in .{', .'.join(FORMATS)}"
        )
    with steps() as progress, undecided():
        progress("following a packet")
        cluster = sources.attach(name)
        found = journey(cluster, wanted, packet=packet, predict=predict, debug_image=debug_image)
    if as_json:
        show_json(found.to_json())
    else:
        show(found.text())
    if pcap:
        write_file(pcap, found.pcapng())
        tell(f"{len(found.frames)} packets are in {pcap}")
    if out:
        write_file(out, JourneyGraph(found).file(form))
        tell(f"the picture is in {out}")
    if found.outcome is Outcome.FAILED:
        return UNDECIDED
    return 0 if found.outcome is Outcome.OPEN else 1
