"""A real JupyterLab: it opens on the labs, and ends with us however we end."""

import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab import clusters
from k8slab.cli import jupyterlab
from k8slab.cli import main as cli
from k8slab.course import Journal
from k8slab.errors import UsageError

SOLUTIONS = Path(__file__).parents[1] / "data" / "solutions"

SERVE = """
import sys
from pathlib import Path
from k8slab.cli import jupyterlab
try:
    jupyterlab.serve(
        Path(sys.argv[1]), notebook="01-a/01-a.ipynb",
        port=int(sys.argv[3]) or jupyterlab.choose_port(None),
        log=Path(sys.argv[2]), environment={"KUBECONFIG": "/somewhere"}, arguments=sys.argv[4:],
        ready=lambda url: print(url, flush=True),
    )
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def serving(tmp_path):
    started = []

    def serve(*arguments, port=0):
        labs = tmp_path / "labs"
        labs.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(labs), str(tmp_path / "log"), str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def child_of(pid):
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def ask(url, path):
    base, _, token = url.partition("/lab")
    request = urllib.request.Request(base + path)
    request.add_header("Authorization", f"token {token.partition('token=')[2].strip()}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_it_serves_the_labs_with_a_token_and_ends_with_ctrl_c(serving):
    process = serving()
    url = process.stdout.readline()
    assert url.startswith("http://127.0.0.1:")
    assert "/lab/tree/01-a/01-a.ipynb?token=" in url
    assert ask(url, "/api/status")["kernels"] == 0
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(url.partition("?")[0], "/api/status")
    overrides = ask(url, "/lab/api/settings")["settings"]
    news = next(s for s in overrides if s["id"] == "@jupyterlab/apputils-extension:notification")
    assert news["schema"]["properties"]["fetchNews"]["default"] == "false"
    server = child_of(process.pid)
    # Kernels find our programs first, and the cluster: the server hands on its environment.
    environment = Path(f"/proc/{server}/environ").read_text()
    assert f"PATH={Path(sys.executable).parent}:" in environment
    assert "KUBECONFIG=/somewhere" in environment
    assert "token" not in Path(f"/proc/{server}/cmdline").read_text().lower()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    assert process.returncode == 0
    assert not Path(f"/proc/{server}").exists()


def test_it_takes_another_port_when_somebody_was_faster(serving):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = serving(port=port)
        url = process.stdout.readline()
        assert url.startswith("http://127.0.0.1:")
        assert f":{port}/" not in url
        assert ask(url, "/api/status")["kernels"] == 0


def test_it_ends_when_we_are_killed(serving):
    process = serving()
    assert process.stdout.readline().startswith("http")
    waiting = os.pidfd_open(child_of(process.pid))
    try:
        process.kill()
        process.wait()
        assert select.select([waiting], [], [], 20)[0], "JupyterLab outlived us"
    finally:
        os.close(waiting)


def test_what_goes_wrong_at_its_start_is_told(serving, tmp_path):
    process = serving("--ServerApp.root_dir=/no/such/directory")
    out, err = process.communicate(timeout=30)
    assert out == ""
    assert "JupyterLab ended before it listened" in err
    assert f"its log: {tmp_path}/log" in err


def test_a_taken_port_is_refused_and_the_next_free_one_found():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            jupyterlab.choose_port(port)
    assert jupyterlab.choose_port(None) >= jupyterlab.FIRST_PORT


def test_the_extension_that_opens_a_cell_has_its_content_in_its_name():
    place = jupyterlab.CONFIGURATION / "labextensions" / "k8slab-resume"
    load = json.loads((place / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    digest = hashlib.sha256((place / load).read_bytes()).hexdigest()
    assert load == f"static/remoteEntry.{digest[:12]}.js"  # browsers keep the file of a name
    assert [path.name for path in (place / "static").iterdir()] == [Path(load).name]


def served(monkeypatch, *argv):
    """Run `k8slab lab` without cluster and server; returns what it would open, and how."""
    found = {}

    def serve(labs, **settings):
        found.update(settings, labs=labs)

    handle = SimpleNamespace(name="k8slab", kubeconfig=Path("/somewhere"))
    monkeypatch.setenv("K8SLAB_LABS", str(SOLUTIONS))
    monkeypatch.setattr(clusters, "up", lambda _name, progress: handle)
    monkeypatch.setattr(jupyterlab, "serve", serve)
    assert cli.run(["lab", "--no-browser", *argv]) == 0
    return found


def test_resuming_opens_what_the_journal_tells_last(monkeypatch, capsys):
    assert served(monkeypatch, "--resume")["notebook"] == ""
    assert "nothing has been begun yet" in capsys.readouterr().err
    assert served(monkeypatch, "90", "--resume")["notebook"] == "90-example/90-example.ipynb"
    Journal().add("90-example", "check", "protect")
    assert served(monkeypatch, "--resume")["notebook"] == "90-example/90-example.ipynb"
    assert "going on at An example: Protect the database" in capsys.readouterr().err


def test_options_of_jupyterlab_need_no_lab_before_them(monkeypatch):
    found = served(monkeypatch, "--", "--debug", "--no-mathjax")
    assert (found["notebook"], found["arguments"]) == ("", ("--debug", "--no-mathjax"))
    found = served(monkeypatch, "90", "--", "--debug")
    assert (found["notebook"], found["arguments"]) == ("90-example/90-example.ipynb", ("--debug",))
