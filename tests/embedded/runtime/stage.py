"""Run one async function as the daemon of a real, empty cluster: real supervisor, init, zygote.

``python stage.py MODULE_FILE FUNCTION STATE_DIRECTORY`` prints what the function returns as
one line of JSON. It is a program of its own since a test process has threads.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path

from k8slab.embedded.config import INSIDE, ClusterConfig, ClusterPaths
from k8slab.embedded.runtime.runtime import Runtime
from k8slab.embedded.supervisor import init, main


def daemon_of(scene):
    def daemon(inheritance, zygote, stop):
        async def act():
            runtime = Runtime(zygote, INSIDE)
            await runtime.start()
            result = await asyncio.wait_for(scene(runtime), 30)
            await runtime.close()
            return result

        try:
            answer = {"ready": True, "result": asyncio.run(act())}
        except BaseException:  # noqa: BLE001
            answer = {"error": traceback.format_exc()}
        init.tell(inheritance.progress, answer)
        return 0

    return daemon


def perform(file: str, name: str, state: str) -> None:
    spec = importlib.util.spec_from_file_location("scenes", file)
    scenes = importlib.util.module_from_spec(spec)
    sys.modules["scenes"] = scenes  # so that it can be an app, too
    spec.loader.exec_module(scenes)
    paths = ClusterPaths(Path(state))
    paths.root.mkdir(parents=True, exist_ok=True)
    read, write = os.pipe()
    starting = os.open(paths.root, os.O_RDONLY)
    report = main.Report(os.dup(write), starting)
    os.close(write)
    supervisor = main.Supervisor(paths, ClusterConfig(name="stage"), report)
    main.supervise(supervisor, daemon_of(getattr(scenes, name)))
    with os.fdopen(read) as lines:
        for line in lines:
            message = json.loads(line)
            if "error" in message:
                sys.exit(message["error"])
            if message.get("ready"):
                sys.stdout.write(json.dumps(message["result"]) + "\n")


if __name__ == "__main__":
    perform(*sys.argv[1:])
