"""A daemon for the supervisor's tests; the name of the cluster says how it behaves."""

import asyncio
import json
import os
import signal
from pathlib import Path

from k8slab.embedded.runtime.runtime import Runtime
from k8slab.embedded.runtime.spec import ContainerSpec, SandboxSpec


def run(config, *, api_sockets, zygote, progress, stop):
    def tell(**line):
        os.write(progress, json.dumps(line).encode() + b"\n")

    async def act():
        runtime = Runtime(zygote, Path("/k8slab"))
        await runtime.start()
        await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="pod"))
        spec = ContainerSpec(name="c", image="busybox", command=("sleep", "1000"))
        await runtime.start_container("pod", spec)
        Path("/k8slab/kubeconfig").write_text(f"port {config.api_port}")  # noqa: ASYNC240
        tell(step="pod")
        if config.name == "failing":
            raise RuntimeError("there is no bread")
        if config.name != "endless":
            tell(ready=True, files=found(), listening=[s.getsockname()[1] for s in api_sockets])
        ended = asyncio.Event()
        if config.name == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_reader(stop, ended.set)
        await ended.wait()

    asyncio.run(act())
    return 0


def found():
    """Return what of the machine can be seen inside."""
    places = [Path(name) for name in ("/", "/etc", "/root", "/home", "/k8slab", "/tmp")]
    return {
        str(place): sorted(path.name for path in place.iterdir())
        for place in places
        if place.is_dir()
    }
