"""The whole book: every lab run on a fresh cluster, all pages made, built and looked at."""

import os
import sys
import tempfile
import time
from pathlib import Path

from harness import Limits, bench

from k8slab import programs

ROOT = Path(__file__).parents[1]


@bench("book", "make book: all labs run, all pages", Limits("s", 180, 60))
def book():
    with tempfile.TemporaryDirectory(prefix="k8slab-bench-") as out:
        argv = [sys.executable, "-m", "bookmaking", "--out", f"{out}/html"]
        began = time.perf_counter()
        done = programs.run(argv, env={"PYTHONPATH": str(ROOT / "tools")}, deadline=900.0)
        taken = time.perf_counter() - began
        if os.environ.get("K8SLAB_BENCH_TIMES"):
            print(done.stderr, file=sys.stderr, flush=True)
        yield taken
