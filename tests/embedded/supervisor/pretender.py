"""A daemon for the supervisor's tests; the name of the cluster says how it behaves."""

import asyncio
import base64
import json
import os
import signal
import subprocess
from pathlib import Path

from k8slab.embedded import credentials
from k8slab.embedded.runtime.runtime import Runtime
from k8slab.embedded.runtime.spec import ContainerSpec, SandboxSpec

KINDS = ("CERTIFICATE", "PRIVATE KEY")


def run(config, *, api_sockets, zygote, progress, stop):
    def tell(**line):
        os.write(progress, json.dumps(line).encode() + b"\n")

    async def act():
        runtime = Runtime(zygote, Path("/k8slab"))
        await runtime.start()
        await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="pod"))
        spec = ContainerSpec(name="c", image="busybox", command=("sleep", "1000"))
        await runtime.start_container("pod", spec)
        leave_kubeconfig(config.name)
        tell(step="pod")
        if config.name == "failing":
            raise RuntimeError("there is no bread")
        if config.name == "garbling":
            os.write(progress, b"[]\n")
        if config.name == "prattling":
            os.write(progress, b"x" * 100_000)
        if config.name not in ("endless", "prattling"):
            tell(ready=True, files=found(), listening=[s.getsockname()[1] for s in api_sockets])
        ended = asyncio.Event()
        if config.name == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        else:
            asyncio.get_running_loop().add_reader(stop, ended.set)
        await ended.wait()

    asyncio.run(act())
    return 0


def leave_kubeconfig(name):
    """Leave credentials, or what a privileged pod could have put in their place."""
    path = Path("/k8slab/kubeconfig")
    pem = {kind: f"-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n".encode() for kind in KINDS}
    certificate, key = pem.values()
    text = credentials.compose(
        "x", "https://evil", ca=certificate, certificate=certificate, key=key
    )
    content = json.loads(text)
    path.unlink(missing_ok=True)
    if name == "exec":
        content["users"][0]["user"]["exec"] = {"command": "/bin/false"}
    elif name == "path":
        content["users"][0]["user"] = {"client-certificate": "/etc/shadow", "client-key": "/x"}
    elif name == "password":
        secret = pem["PRIVATE KEY"].replace(b"AAAA", b"Proc-Type: 4,ENCRYPTED\n\nAAAA")
        content["users"][0]["user"]["client-key-data"] = base64.b64encode(secret).decode()
    if name == "link":
        return path.symlink_to("/etc/terminfo")
    if name == "fifo":
        return os.mkfifo(path)
    if name == "giant":
        path.touch()
        return os.truncate(path, 1 << 40)
    return path.write_text(json.dumps(content))


def found():
    """Return what of the machine can be seen inside."""
    places = [Path(name) for name in ("/", "/etc", "/root", "/home", "/k8slab", "/tmp")]
    seen = {
        str(place): sorted(path.name for path in place.iterdir())
        for place in places
        if place.is_dir()
    }
    return {**seen, "uncovered": uncovered()}


def uncovered():
    """Return the processes in /proc once all that may be is unmounted there."""
    script = "for i in 1 2 3; do umount -l /proc || break; ls /proc; done"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, check=True)
    return [name for name in done.stdout.decode().split() if name.isdigit()]
