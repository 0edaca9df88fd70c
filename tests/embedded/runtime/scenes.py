"""What the runtime's tests do inside a cluster; each returns plain values to be judged outside."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from k8slab.embedded import linux
from k8slab.embedded.runtime import logs
from k8slab.embedded.runtime.runtime import SPARES
from k8slab.embedded.runtime.spec import (
    ContainerCannotRunError,
    ContainerSpec,
    ExecSpec,
    ImageNotFoundError,
    Mount,
    SandboxSpec,
)
from k8slab.errors import KernelError

PIDS = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done"


async def said(process):
    """Return exit code, stdout and stderr of a process."""
    streams = [process.stdout.read()]
    if process.stderr:
        streams.append(process.stderr.read())
    texts = await asyncio.gather(*streams)
    return [await process.wait(), *(text.decode() for text in texts)]


async def in_shell(runtime, container, script):
    return await said(await runtime.exec(container.id, ExecSpec(("sh", "-c", script))))


async def running(runtime, uid="pod", **spec):
    """Start a container that sleeps, or what `spec` says, in a new sandbox."""
    await runtime.create_sandbox(SandboxSpec(uid=uid, hostname=f"{uid}-host"))
    return await started(runtime, uid, **spec)


async def started(runtime, uid="pod", **spec):
    wanted = {"name": "c", "image": "busybox", "command": ("sleep", "1000"), **spec}
    return await runtime.start_container(uid, ContainerSpec(**wanted))


async def ended(runtime, **spec):
    """Run a container to its end; return how it ended and its log."""
    future = asyncio.get_running_loop().create_future()
    runtime.on_exit = future.set_result
    await running(runtime, log_path="logs/ended.log", **spec)
    end = await future
    return [end.code, end.signal, end.reason, runtime.log_file("logs/ended.log").read_text()]


async def isolation(runtime):
    container = await running(runtime)
    script = {
        "processes": PIDS,
        "hostname": "hostname",
        "files": "ls /home /root /k8slab /work /run /mnt 2>/dev/null; ls -d /run/k8slab 2>&1",
        "usr": "touch /usr/x",
        "tmp": "echo fine > /tmp/x; cat /tmp/x",
        "mount": "mount -t tmpfs none /mnt",
        "link": "ip link set lo down",
        "proc_sys": "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "user": "id -u",
        "terminal": "ls /dev",
    }
    answers = {name: await in_shell(runtime, container, text) for name, text in script.items()}
    privileged = await started(runtime, privileged=True)
    answers["privileged_link"] = await in_shell(runtime, privileged, "ip link set lo down")
    dropped = await started(runtime, drop_capabilities=("ALL",), add_capabilities=("NET_ADMIN",))
    answers["added_link"] = await in_shell(runtime, dropped, "ip link set lo up")
    answers["dropped_raw"] = await in_shell(
        runtime, dropped, "grep CapEff /proc/self/status | tr -d '\\t'"
    )
    return answers


async def ends(runtime):
    async def of(uid, *command):
        future = asyncio.get_running_loop().create_future()
        runtime.on_exit = future.set_result
        await running(runtime, uid, command=command)
        end = await future
        return [end.code, end.signal, end.reason]

    return {
        "zero": await of("a", "true"),
        "three": await of("b", "sh", "-c", "exit 3"),
        "killed": await of("c", "sh", "-c", "sh -c 'kill -9 $PPID' ; kill -9 $$; exit 4"),
        "orphans": await of("d", "sh", "-c", "sleep 1000 & exit 5"),
    }


async def stopping(runtime):
    ends_ = []
    runtime.on_exit = ends_.append
    deaf = await running(runtime, "deaf")
    handler = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"
    polite = await running(runtime, "polite", command=("sh", "-c", handler), log_path="polite")
    log = runtime.live_log("polite")
    while not runtime.log_file("polite").read_bytes():
        await log.changed()
    began = time.monotonic()
    await runtime.stop_container(polite.id, 60)
    polite_seconds = time.monotonic() - began
    began = time.monotonic()
    await runtime.stop_container(deaf.id, 0.3)
    deaf_seconds = time.monotonic() - began
    await runtime.stop_container(deaf.id, 0.3)
    return {
        "codes": [end.code for end in ends_],
        "polite": polite_seconds,
        "deaf": deaf_seconds,
    }


async def refusals(runtime):
    await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="pod"))
    found = {}
    for name, spec in {
        "image": {"image": "ngnix:1.27"},
        "program": {"command": ("nothing-here",)},
        "path": {"command": ("/nothing/here",)},
        "directory": {"command": ("/tmp",)},
        "plain": {"command": ("/etc/hosts",)},
        "minimal": {"image": "k8slab/app:minimal", "command": ("sh",)},
    }.items():
        try:
            await started(runtime, **spec)
        except (ImageNotFoundError, ContainerCannotRunError) as error:
            found[name] = [type(error).__name__, str(error)]
    container = await started(runtime)
    try:
        await runtime.exec(container.id, ExecSpec(("nothing-here",)))
    except ContainerCannotRunError as error:
        found["exec"] = [type(error).__name__, str(error)]
    return found


async def execs(runtime):
    container = await running(runtime, environment={"COLOUR": "blue"}, working_directory="/tmp/a")
    code = await in_shell(runtime, container, "echo $COLOUR; pwd; echo bad >&2; exit 9")
    cat = await runtime.exec(container.id, ExecSpec(("cat",), stdin=True))
    cat.stdin.write(b"x" * 300_000)
    cat.stdin.close()
    echoed = await said(cat)
    endless = await runtime.exec(container.id, ExecSpec(("sleep", "1000")))
    endless.kill()
    return {"code": code, "echoed": [echoed[0], len(echoed[1])], "killed": await endless.wait()}


async def terminal(runtime):
    container = await running(runtime)
    shell = await runtime.exec(container.id, ExecSpec(("sh",), tty=True, stdin=True))
    shell.resize(101, 37)
    shell.stdin.write(b"tty; stty size; sh -c 'echo on''going; exec sleep 1000'\n")
    text = b""
    while b"ongoing" not in text:
        text += await shell.stdout.read(4096)
    shell.stdin.write(b"\x03")
    while not text.endswith(b"# "):
        text += await shell.stdout.read(4096)
    shell.stdin.write(b"exit 6\n")
    rest = await shell.stdout.read()
    return {"text": (text + rest).decode(), "code": await shell.wait()}


async def attached(runtime):
    await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="pod"))
    container = await started(runtime, command=("cat",), stdin=True)
    process = await runtime.attach(container.id)
    process.stdin.write(b"hello\n")
    line = await process.stdout.readline()
    process.stdin.close()
    rest = await said(process)
    with_terminal = await started(runtime, command=("sh",), stdin=True, tty=True)
    shell = await runtime.attach(with_terminal.id)
    shell.stdin.write(b"echo $((6*7)); exit 2\n")
    terminal = await said(shell)
    quick = await started(runtime, command=("sh", "-c", "echo quick; exit 4"), stdin=True)
    await quick.finished.wait()
    late = [await said(await runtime.attach(quick.id)) for _ in range(2)]
    return {"line": line.decode(), "rest": rest, "terminal": terminal, "late": late}


async def logging(runtime):
    script = "echo out; echo err >&2; printf unfinished; sleep 0.05; printf ' line'; exit 1"
    code, _, reason, log = await ended(runtime, command=("sh", "-c", script))
    return {"code": code, "reason": reason, "log": log}


async def log_reading(runtime):
    gate = "while ! [ -e /tmp/go ]; do sleep 0.01; done"
    script = f"for i in 1 2 3 4 5; do echo line $i; done; {gate}; echo later; printf end"
    container = await running(runtime, command=("sh", "-c", script), log_path="logs/a.log")
    path = runtime.log_file("logs/a.log")
    log = runtime.live_log("logs/a.log")
    while path.read_bytes().count(b"\n") < 5:
        await log.changed()

    async def read(**options):
        pieces = logs.read_log(path, logs.LogOptions(**options), live)
        return b"".join([piece async for piece in pieces]).decode()

    live = lambda: runtime.live_log("logs/a.log")  # noqa: E731
    following = logs.read_log(path, logs.LogOptions(follow=True, tail=2), live)
    pieces = [await anext(following)]  # only now is it sure where it begins
    found = {
        "all": await read(),
        "tail": await read(tail=1),
        "limit": await read(limit=8),
        "since": await read(since=time.time() + 5),
        "timestamps": await read(timestamps=True, tail=1),
    }
    await in_shell(runtime, container, "touch /tmp/go")
    pieces += [piece async for piece in following]
    return {**found, "follow": b"".join(pieces).decode()}


async def flood(runtime):
    script = "yes 0123456789012345678901234567890123456789012345678901234567890 | head -n 300000"
    _, _, reason, _ = await ended(runtime, command=("sh", "-c", script))
    path = runtime.log_file("logs/ended.log")
    previous = path.with_name("ended.log.1")
    return {"reason": reason, "sizes": [path.stat().st_size, previous.stat().st_size]}


async def volumes(runtime):
    files = {"colour": b"blue", "deep/er": b"1"}
    mounts = (
        Mount(path="/shared", volume="shared"),
        Mount(path="/config", volume="config", files=files),
        Mount(path="/etc/colour", volume="config", files=files, sub_path="colour"),
    )
    one = await running(runtime, mounts=mounts)
    other = await started(runtime, mounts=mounts)
    found = {
        "write": await in_shell(runtime, one, "echo from one > /shared/x"),
        "read": await in_shell(runtime, other, "cat /shared/x; rm /shared/x"),
        "config": await in_shell(runtime, other, "cat /config/colour /config/deep/er /etc/colour"),
        "read_only": await in_shell(runtime, other, "echo no > /config/colour"),
    }
    # A reader that sees files of both versions in one look would print "mixed".
    watch = (
        "while [ -e /shared/go ]; do cd /config/..data/ && a=$(cat a 2>/dev/null); b=$(cat b"
        ' 2>/dev/null); [ -z "$a" ] || [ -z "$b" ] || [ "$a" = "$b" ] || echo mixed; cd /; done'
    )
    await in_shell(runtime, one, "touch /shared/go")
    watcher = asyncio.create_task(in_shell(runtime, one, watch))
    for number in range(30):
        text = str(number).encode()
        await runtime.update_volume("pod", "config", {"a": text, "b": text})
        await asyncio.sleep(0)
    await in_shell(runtime, one, "rm /shared/go")
    found["watched"] = await watcher
    found["updated"] = await in_shell(runtime, other, "ls /config; cat /config/a; cat /etc/colour")
    found["full"] = await in_shell(runtime, one, "head -c 100m /dev/zero > /shared/big")
    return found


async def leading_out(runtime):
    """Mount parts of a volume in which a program has put links that lead out of it."""
    shared, files = Mount(path="/shared", volume="shared"), {"a": b"1"}
    one = await running(runtime, mounts=(shared,))
    links = "ln -s /k8slab out; ln -s .. up; ln -s in within; ln -s /.cluster/k8slab old; "
    links += "ln -s /.cluster/run/k8slab run; ln -s ../.cluster/run/k8slab/new dangling"
    await in_shell(runtime, one, f"cd /shared; mkdir -p in/deep; echo text > file; {links}")
    Path("/k8slab/secret").write_text("secret")  # noqa: ASYNC240
    outcomes = {}

    async def attempt(name, *mounts):
        try:
            container = await started(runtime, mounts=mounts)
        except ContainerCannotRunError as error:
            outcomes[name] = error.message
            return
        seen = await in_shell(runtime, container, "cat /x; ls /x; ls /shared")
        outcomes[name] = "".join(seen[1:])

    for path in ("out", "out/new", "up/..", "../..", "within/deep", "new/er", "file"):
        await attempt(path, Mount(path="/x", volume="shared", sub_path=path))
    for path in ("../../../../k8slab", "b", "a", "a"):
        await attempt(f"files {path}", Mount(path="/x", volume="c", files=files, sub_path=path))
    for path in ("old/planted", "run/planted"):
        await attempt(f"target {path}", shared, Mount(path=f"/shared/{path}", volume="other"))
    for path in ("run/planted.conf", "dangling"):
        part = Mount(path=f"/shared/{path}", volume="c", files=files, sub_path="a")
        await attempt(f"target {path}", shared, part)
    outcomes["run"] = " ".join(path.name for path in Path("/run/k8slab").iterdir())  # noqa: ASYNC240
    await runtime.remove_sandbox("pod")
    mounts = Path("/proc/self/mounts").read_text()  # noqa: ASYNC240
    left = sorted(path.name for path in Path("/k8slab").iterdir())  # noqa: ASYNC240
    return {"outcomes": outcomes, "inside": left, "mounts": mounts.count("/parts/")}


async def refused_mounts(runtime):
    """Start containers while the kernel refuses mounts, and again when it does so no more."""
    part = Mount(path="/x", volume="c", files={"a": b"1"}, sub_path="a")
    mounts = (Mount(path="/shared", volume="shared"), part)
    await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="own"))
    real, refused = linux.mount, []

    def mount(source, target, *more, **options):
        if target not in refused:
            refused.append(target)
            raise KernelError(f"mount({target!r}): No space left on device", errno=errno.ENOSPC)
        real(source, target, *more, **options)

    linux.mount = mount
    for _ in mounts:
        with suppress(KernelError):
            await started(runtime, mounts=mounts)
    linux.mount = real
    container = await started(runtime, mounts=mounts)
    seen = await in_shell(runtime, container, "cat /x; df --output=size /shared | tail -1")
    await runtime.create_sandbox(SandboxSpec(uid="other", hostname="own"))
    refused.clear()
    linux.mount = mount
    with suppress(KernelError):
        await started(runtime, "other", mounts=(part,))
    linux.mount = real
    await runtime.remove_sandbox("other")
    left = sorted(path.name for path in Path("/run/k8slab").glob("*/"))  # noqa: ASYNC240
    return {"refused": len(refused), "seen": seen, "left": left}


async def killed_commands(runtime):
    """Kill commands whose own children hold their output open."""
    container = await running(runtime)
    await runtime._refilling  # else a spare sandbox in the making would be counted, too
    counts, said = [], []
    for _ in range(3):
        spec = ExecSpec(("sh", "-c", "sleep 1000 & echo on; sleep 1000"))
        process = await runtime.exec(container.id, spec)
        await process.stdout.readline()
        process.kill()
        said.append((await process.stdout.read()).decode())
        counts.append([await process.wait(), len(os.listdir("/proc/self/fd"))])  # noqa: PTH208
    return {"counts": counts, "said": said}


async def bounds(runtime):
    container = await running(runtime)
    fork = "sleep 1000 > /dev/null 2>&1 & i=$((i+1))"
    bomb = await in_shell(runtime, container, f"i=0; while [ $i -lt 600 ]; do {fork}; done")
    other = await running(runtime, "other")
    neighbour = await in_shell(runtime, other, "sh -c 'echo fine'")
    writer = await in_shell(runtime, other, "head -c 200m /dev/zero > /tmp/big")
    await runtime.remove_sandbox("pod")
    return {"bomb": bomb, "neighbour": neighbour, "writer": writer}


async def shared_processes(runtime):
    target = await running(runtime, command=("sleep", "1234"))
    debugger = await started(runtime, share_processes_with=target.id)
    seen = await in_shell(runtime, debugger, PIDS)
    await runtime.create_sandbox(SandboxSpec(uid="all", hostname="all", share_processes=True))
    one = await started(runtime, "all", command=("sleep", "4321"))
    other = await started(runtime, "all", command=("sleep", "5432"))
    return {
        "debugger": seen,
        "one": await in_shell(runtime, one, PIDS),
        "other": await in_shell(runtime, other, "cat /proc/1/comm"),
    }


async def users(runtime):
    container = await running(runtime, run_as_user=1234)
    return {
        "id": await in_shell(runtime, container, "id -u; touch /tmp/mine && ls -ln /tmp/mine"),
        "caps": await in_shell(runtime, container, "grep CapEff /proc/self/status"),
        "root": await in_shell(runtime, container, "touch /root/x"),
        "ping": await in_shell(runtime, container, "ping -c1 -W1 127.0.0.1"),
        "port": await in_shell(runtime, container, "timeout 0.1 nc -l -p 80; echo $?"),
    }


async def apps(runtime):
    """The web app: forked without exec, in a root without any program."""
    container = await running(
        runtime, image="k8slab/app:minimal", command=(), log_path="logs/app", args=("--port=8080",)
    )
    log = runtime.live_log("logs/app")
    while b"8080" not in runtime.log_file("logs/app").read_bytes():
        await log.changed()
    sandbox = runtime._sandboxes["pod"]
    with linux.in_netns(sandbox.netns):
        client = socket.socket()
    client.connect(("127.0.0.1", 8080))
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = await asyncio.to_thread(client.recv, 65_536)
    client.close()
    command_line = Path(f"/proc/{container.pid}/cmdline").read_bytes()  # noqa: ASYNC240
    began = time.monotonic()
    await runtime.stop_container(container.id, 60)
    return {
        "answer": answer.decode(),
        "command": command_line.decode().rstrip("\0").split("\0"),
        "stop": time.monotonic() - began,
    }


async def nodes(runtime):
    netns = linux.new_netns()

    async def run(*argv, deadline=20.0):
        done = await runtime.run_in_netns(netns, list(argv), hostname="node-1", deadline=deadline)
        return [done.code, done.stdout.decode(), done.stderr.decode()]

    async def until_it_said(deadline):
        """Run a command that does not end; a busy machine may take longer to begin with it."""
        seen = await run("sh", "-c", "echo first; sleep 1000", deadline=deadline)
        return seen if seen[1] else await until_it_said(2 * deadline)

    found = {
        "hostname": await run("hostname"),
        "link": await run("ip", "link", "set", "lo", "up"),
        "route": await run("ip", "route", "add", "10.9.0.0/16", "dev", "lo"),
        "routes": await run("ip", "route"),
        "nft": await run("nft", "list", "ruleset"),
        "table": await run("nft", "add", "table", "ip", "mine"),
        "late": await until_it_said(1.0),
    }
    os.close(netns)
    return found


def world_app(argv, environment):
    before = str(Path("/proc/self/ns/net").readlink())
    linux.setns(int(environment["K8SLAB_FD_INTERNET"]), linux.CLONE_NEWNET)
    moved = str(Path("/proc/self/ns/net").readlink()) != before
    print(argv, Path("/w/a").read_text(), "moved" if moved else "stayed")
    return 3


async def world(runtime):
    """An app of the cluster's own may enter the namespaces that it gets."""
    netns = linux.new_netns()
    future = asyncio.get_running_loop().create_future()
    runtime.on_exit = future.set_result
    app = "scenes:world_app"
    try:
        await runtime.start_app(app, ["--x"], netns={"internet": netns}, files={"/w/a": b"1"})
    finally:
        os.close(netns)
    end = await future
    return [end.container_id, end.code, runtime.log_file("logs/scenes.log").read_text()]


def drawing_app(argv, environment):
    """Print what a thread has drawn: a forked app can have both."""
    drawn = []
    thread = threading.Thread(target=lambda: drawn.append(random.random()))
    thread.start()
    thread.join()
    print(drawn[0])
    return 0


async def draws(runtime):
    """Run the app three times, one after the other; return what each drew."""
    for _ in range(3):
        future = asyncio.get_running_loop().create_future()
        runtime.on_exit = future.set_result
        await runtime.start_app("scenes:drawing_app", [], netns={}, files={})
        await future
    return runtime.log_file("logs/scenes.log").read_text()


def stat_of(process):
    """Return what the kernel says of a process; empty when it has ended meanwhile."""
    try:
        return (process / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def killed_helper(runtime):
    """A pod starts all the same when the helper that waits in its sandbox was killed."""
    await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="own"))

    def helpers():
        stats = list(filter(None, map(stat_of, Path("/proc").glob("[0-9]*"))))
        fields = [(text.split()[0], text.rpartition(")")[2].split()[1]) for text in stats]
        zygote = next(text.split()[0] for text in stats if "(k8slab-zygote)" in text)
        return [int(pid) for pid, parent in fields if parent == zygote]

    killed = helpers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    while not set(killed).isdisjoint(helpers()):  # noqa: ASYNC110 - only /proc can tell
        await asyncio.sleep(0.001)
    container = await started(runtime)
    return await in_shell(runtime, container, "hostname")


async def host_network(runtime):
    netns = linux.new_netns()
    await runtime.run_in_netns(netns, ["ip", "link", "set", "lo", "up"], hostname="n", deadline=5)
    await runtime.create_sandbox(SandboxSpec(uid="pod", hostname="node", network=netns))
    container = await started(runtime)
    found = {
        "same": Path(f"/proc/{container.pid}/ns/net").stat().st_ino,  # noqa: ASYNC240
        "ping": await in_shell(runtime, container, "ping -c1 -W1 127.0.0.1"),
        "admin": await in_shell(runtime, container, "ip link set lo down"),
    }
    found["wanted"] = os.fstat(netns).st_ino
    os.close(netns)
    return found


async def captures(runtime):
    container = await running(runtime)
    script = (
        "(until ping -c1 -W1 -q 127.0.0.1 > /dev/null && [ -e /tmp/done ]; do :; done) & "
        "timeout 10 tcpdump -n -i lo -c 2 icmp; code=$?; touch /tmp/done; wait; exit $code"
    )
    return {
        "live": await in_shell(runtime, container, script),
        "nonsense": await in_shell(runtime, container, "tcpdump -i lo port nonsense"),
        "missing": await in_shell(runtime, container, "tcpdump -i eth9"),
    }


async def tools(runtime):
    container = await running(runtime)
    script = (
        "(printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | timeout 25 nc -l -p 80 -q1 >/dev/null) & "
        "until ss -ltn | grep -q :80; do sleep 0.01; done; curl -s http://127.0.0.1:80/"
    )
    return {
        "curl": await in_shell(runtime, container, script),
        "dig": await in_shell(runtime, container, "dig +time=1 +tries=1 @127.0.0.1 x"),
        "ip": await in_shell(runtime, container, "ip -br addr"),
        "trust": await in_shell(runtime, container, "wc -c < /etc/ssl/certs/ca-certificates.crt"),
    }


async def speed(runtime):
    """Nothing to judge but the order of magnitude; real figures are the benchmarks'."""
    seconds = []
    for number in range(10):
        began = time.monotonic()
        await running(runtime, f"pod-{number}")
        seconds.append(time.monotonic() - began)
    removing = time.monotonic()
    await asyncio.gather(*(runtime.remove_sandbox(f"pod-{number}") for number in range(10)))
    took = time.monotonic() - removing

    def left():
        return sum(path.name.isdigit() for path in Path("/proc").iterdir())

    # Init, zygote, daemon, and a helper in each spare. One may just be in the making, or end;
    # only /proc can tell.
    while left() > 3 + SPARES and time.monotonic() - removing < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return {
        "median": sorted(seconds)[5],
        "removing": took,
        "left": left() - SPARES,
    }
