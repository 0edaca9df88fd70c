"""A real JupyterLab: it opens on the labs, and ends with us however we end."""

import errno
import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab import clusters
from k8slab.cli import browser, jupyterlab
from k8slab.cli import main as cli
from k8slab.course import Journal
from k8slab.errors import UsageError

SOLUTIONS = Path(__file__).parents[1] / "data" / "solutions"

NOTEBOOK = "01 100%25 #a?/Übung & +.ipynb"
"""A name that may be, with all that means something else in a URL."""

SERVE = f"""
import sys
NOTEBOOK = {NOTEBOOK!r}
from pathlib import Path
from k8slab.cli import jupyterlab
try:
    jupyterlab.serve(
        Path(sys.argv[1]), notebook=jupyterlab.in_url(NOTEBOOK),
        port=int(sys.argv[3]) or jupyterlab.choose_port(None),
        log=Path(sys.argv[2]), environment={{"KUBECONFIG": "/somewhere"}}, arguments=sys.argv[4:],
        ready=lambda url: print(url, flush=True),
    )
except KeyboardInterrupt:
    print("interrupted")
"""


STAND_IN = """
import socket, sys
given = dict(one.partition("=")[::2] for one in sys.argv)
if "--fail" in given:
    sys.exit("no such directory")
for port in range(int(given["--ServerApp.port"]), 65536):
    try:
        listening = socket.create_server(("127.0.0.1", port))
        break
    except OSError:
        pass
print(f"a server is running at:\\nhttp://127.0.0.1:{port}/lab", file=sys.stderr, flush=True)
while True:
    listening.accept()
    print("somebody connects", file=sys.stderr, flush=True)
"""
"""It listens and says so as JupyterLab does, which takes seconds for it."""


def start(place, *arguments, port=0, log="", **environment):
    """Serve a directory; its process says the URL, and what came of it."""
    labs = place / "labs"
    labs.mkdir(exist_ok=True)
    words = [str(labs), log or str(place / "log"), str(port), *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, *words],
        env={**os.environ, "HOME": str(place), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def served_labs(tmp_path_factory):
    """Give a real JupyterLab that many look at: its place, URL, and a port that it did not get.

    In the end whoever started it is killed, and it has to go by itself.
    """
    place = tmp_path_factory.mktemp("served")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start(place, port=port) as process:
            url = process.stdout.readline()
            server = child_of(process.pid)
            with ending(server) as ended:
                yield SimpleNamespace(place=place, url=url, taken=port, server=server)
                process.kill()
                assert ended(), "JupyterLab outlived us"


@pytest.fixture
def serving(tmp_path):
    """Start servers that are looked at alone, real ones or such as stand in for them."""
    started = []

    def serve(*arguments, real=False, **settings):
        if not real:
            (tmp_path / "jupyterlab.py").write_text(STAND_IN)
            settings["PYTHONPATH"] = str(tmp_path)
        started.append(start(tmp_path, *arguments, **settings))
        return started[-1]

    yield serve
    for process in started:
        process.kill()
        process.communicate()


@contextmanager
def ending(pid):
    """Give a function that waits for the end of a process, and says whether it came."""
    waiting = os.pidfd_open(pid)
    try:
        yield lambda: bool(select.select([waiting], [], [], 60)[0])
    finally:
        os.close(waiting)


def child_of(pid):
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def ask(url, path, method="GET", content=None):
    base, _, token = url.partition("/lab/")
    headers = {"Authorization": f"token {token.partition('token=')[2].strip()}"}
    body = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(base + path, body, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def test_it_serves_the_labs_with_a_token(served_labs):
    url, server = served_labs.url, served_labs.server
    assert url.startswith("http://127.0.0.1:")
    page, _, _token = url.partition("?token=")
    assert page.partition("/lab/tree/")[2] == urllib.parse.quote(NOTEBOOK)
    with urllib.request.urlopen(url, timeout=60) as answer:
        text = answer.read().decode()
    configuration = text.partition('id="jupyter-config-data"')[2].partition(">")[2]
    settings, _ = json.JSONDecoder().raw_decode(configuration.lstrip())
    assert settings["treePath"] == NOTEBOOK
    assert ask(url, "/api/status")["kernels"] == 0
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        ask(url.partition("?")[0], "/api/status")
    refused.value.close()
    overrides = ask(url, "/lab/api/settings")["settings"]
    news = next(s for s in overrides if s["id"] == "@jupyterlab/apputils-extension:notification")
    assert news["schema"]["properties"]["fetchNews"]["default"] == "false"
    # Kernels find our programs first, and the cluster: the server hands on its environment.
    environment = Path(f"/proc/{server}/environ").read_text()
    assert f"PATH={Path(sys.executable).parent}:" in environment
    assert "KUBECONFIG=/somewhere" in environment


def test_nobody_else_can_read_its_token(served_labs):
    secret = served_labs.url.partition("?token=")[2].strip()
    assert secret not in Path(f"/proc/{served_labs.server}/cmdline").read_text()
    files = [path for path in served_labs.place.rglob("*") if path.is_file()]
    assert served_labs.place / "log" in files
    holders = [path for path in files if secret.encode() in path.read_bytes()]
    for path in holders:  # it is shut itself, or a directory above it is
        way = [path, *path.relative_to(served_labs.place).parents][:-1]
        assert any((served_labs.place / one).stat().st_mode & 0o077 == 0 for one in way), path
    assert any(path.name.startswith("jpserver-") for path in holders)  # which other tools read


def test_no_setting_of_the_learner_stands_above_the_token(monkeypatch):
    """Whichever of the server's own classes the learner lets look at it."""
    from jupyter_server.auth import identity  # noqa: PLC0415
    from traitlets.config import Config, PyFileConfigLoader  # noqa: PLC0415

    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    names = ("IdentityProvider", "PasswordIdentityProvider", "LegacyIdentityProvider")
    found = Config({name: {"token": ""} for name in names})
    file = "jupyter_server_config.py"
    found.merge(PyFileConfigLoader(file, str(jupyterlab.CONFIGURATION)).load_config())
    assert [getattr(identity, name)(config=found).token for name in names] == ["secret"] * 3


def test_it_takes_another_port_when_somebody_was_faster(served_labs):
    assert f":{served_labs.taken}/" not in served_labs.url


def test_a_saved_notebook_has_the_text_of_its_forms(served_labs):
    widget = "application/vnd.jupyter.widget-view+json"
    bundles = [
        {"text/plain": "a form", "text/html": "<p>a form</p>", widget: {"model_id": "1"}},
        {"text/plain": "HTML()", widget: {"model_id": "2"}},  # somebody else's: nothing but that
    ]
    outputs = [{"output_type": "display_data", "data": one, "metadata": {}} for one in bundles]
    cell = {"cell_type": "code", "source": "", "outputs": outputs, "metadata": {}, "id": "a"}
    cell["execution_count"] = 1
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    model = {"type": "notebook", "format": "json", "content": notebook}
    ask(served_labs.url, "/api/contents/a.ipynb", "PUT", model)
    (saved,) = json.loads((served_labs.place / "labs" / "a.ipynb").read_text())["cells"]
    assert [sorted(one["data"]) for one in saved["outputs"]] == [
        ["text/html", "text/plain"],
        [widget, "text/plain"],
    ]


def test_the_learners_own_configuration_neither_opens_it_nor_holds_it_up(
    serving, tmp_path, monkeypatch
):
    """And its own menu, File, Shut Down, ends it without an error."""
    own = tmp_path / "own"
    own.mkdir()
    text = "c.IdentityProvider.token = ''\nc.PasswordIdentityProvider.token = ''\n"
    text += "c.ServerApp.base_url = '/lab-mine/'\n"
    text += "c.LabApp.default_url = '/tree'\nc.ServerApp.custom_display_url = 'http://else/'\n"
    for name in ("jupyter_server_config.py", "jupyter_lab_config.py"):
        (own / name).write_text(text)
    kernel = own / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "mine", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(own))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(own))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")  # as where Python belongs to somebody else
    process = serving(real=True)
    url = process.stdout.readline()
    assert re.match(r"http://127\.0\.0\.1:\d+/lab-mine/lab/tree/01[^?]*\?token=", url)
    assert ask(url, "/api/status")["kernels"] == 0
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        ask(url.partition("?")[0], "/api/status")
    refused.value.close()
    found = ask(url, "/api/kernelspecs")["kernelspecs"]["python3"]["spec"]
    assert found["argv"] != ["false"]
    ask(url, "/api/shutdown", "POST", {})
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


def test_another_page_is_opened_when_it_is_asked_for_and_ctrl_c_ends_it(serving):
    process = serving("--LabApp.default_url=/lab/workspaces/mine", real=True)
    assert re.search(r":\d+/lab/workspaces/mine\?token=", process.stdout.readline())
    server = child_of(process.pid)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("interrupted\n", "")
    assert process.returncode == 0
    assert not Path(f"/proc/{server}").exists()


def test_a_full_disk_under_its_log_is_told_once_and_ends_nothing(serving):
    process = serving(log="/dev/full")
    port = urllib.parse.urlsplit(process.stdout.readline()).port
    socket.create_connection(("127.0.0.1", port)).close()  # which it logs
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "interrupted\n"
    assert err.count("No space left on device; it runs on") == 1


def test_an_end_that_nobody_asked_for_is_an_error(serving, tmp_path):
    process = serving()
    assert process.stdout.readline().startswith("http")
    os.kill(child_of(process.pid), signal.SIGKILL)  # as the kernel does without memory
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "JupyterLab ended by itself (Killed): " in err
    assert f"its log: {tmp_path}/log" in err


def test_it_ends_when_we_are_killed(serving):
    process = serving()
    assert process.stdout.readline().startswith("http")
    with ending(child_of(process.pid)) as ended:
        process.kill()
        process.wait()
        assert ended(), "JupyterLab outlived us"


def test_what_goes_wrong_at_its_start_is_told(serving, tmp_path):
    out, err = serving("--fail").communicate(timeout=60)
    assert out == ""
    assert "JupyterLab ended before it listened: no such directory" in err
    assert f"its log: {tmp_path}/log" in err


def test_a_taken_port_is_refused_and_the_next_free_one_found():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken"):
            jupyterlab.choose_port(port)
    assert jupyterlab.choose_port(None) >= jupyterlab.FIRST_PORT


def test_where_all_usual_ports_are_taken_the_kernel_names_one(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(jupyterlab, "FIRST_PORT", taken.getsockname()[1])
        monkeypatch.setattr(jupyterlab, "PORTS_TRIED", 1)
        assert jupyterlab.choose_port(None) not in {0, jupyterlab.FIRST_PORT}


def test_a_port_that_is_not_for_us_is_not_called_taken(monkeypatch):
    def refuse(_socket, _address):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UsageError, match="port 80 cannot be used: Permission denied"):
        jupyterlab.choose_port(80)


def test_the_extension_that_opens_a_cell_has_its_content_in_its_name():
    place = jupyterlab.CONFIGURATION / "labextensions" / "k8slab-resume"
    load = json.loads((place / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    digest = hashlib.sha256((place / load).read_bytes()).hexdigest()
    assert load == f"static/remoteEntry.{digest[:12]}.js"  # browsers keep the file of a name
    assert [path.name for path in (place / "static").iterdir()] == [Path(load).name]


@pytest.fixture(autouse=True)
def no_browser(monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(variable, raising=False)


def served(monkeypatch, *argv):
    """Run `k8slab lab` without cluster and server; returns what it would open, and how."""
    found = {}

    def serve(labs, **settings):
        found.update(settings, labs=labs)

    handle = SimpleNamespace(name="k8slab", kubeconfig=Path("/somewhere"))
    if "K8SLAB_LABS" not in os.environ:
        monkeypatch.setenv("K8SLAB_LABS", str(SOLUTIONS))
    monkeypatch.setattr(clusters, "up", lambda _name, progress: handle)
    monkeypatch.setattr(jupyterlab, "serve", serve)
    assert cli.run(["lab", *argv]) == 0
    return found


def test_resuming_opens_what_the_journal_tells_last(monkeypatch, capsys):
    assert served(monkeypatch, "--resume")["notebook"] == ""
    assert "nothing has been begun yet" in capsys.readouterr().err
    assert served(monkeypatch, "90", "--resume")["notebook"] == "90-example/90-example.ipynb"
    Journal().add("90-example", "check", "protect")
    assert served(monkeypatch, "--resume")["notebook"] == "90-example/90-example.ipynb"
    assert "going on at An example: Protect the database" in capsys.readouterr().err


@pytest.fixture
def shut(monkeypatch, tmp_path):
    """Copy the labs, with a directory beside them, and say which are somebody else's."""
    labs = tmp_path / "the labs"
    shutil.copytree(SOLUTIONS, labs)
    shutil.copytree(SOLUTIONS / "90-example", labs / "91-another")
    (labs / "lost+found").mkdir()
    monkeypatch.setenv("K8SLAB_LABS", str(labs))
    monkeypatch.setattr(clusters, "up", lambda *_, **__: pytest.fail("a cluster was started"))

    def shut(*names):
        monkeypatch.setattr(os, "access", lambda path, _mode: Path(path).name not in names)
        return labs

    return shut


def test_labs_that_cannot_be_written_are_not_opened(shut, capsys):
    labs = shut("90-example")
    assert cli.run(["lab"]) == 2
    told = capsys.readouterr().err
    assert f"you may not write in {labs}/90-example" in told
    whole = f"cp -rn '{labs}'/. ~/labs; export K8SLAB_LABS=~/labs"
    assert whole in told
    assert cli.run(["lab", "90"]) == 2
    assert whole in capsys.readouterr().err


def test_a_lab_elsewhere_that_cannot_be_written_is_copied_without_loss(
    shut, monkeypatch, tmp_path, capsys
):
    labs = shut("90-example")
    monkeypatch.setenv("K8SLAB_LABS", str(tmp_path))
    assert cli.run(["lab", str(labs / "90-example")]) == 2
    copy = f"cp -rn '{labs}/90-example'/. ~/90-example; k8slab lab ~/90-example"
    assert copy in capsys.readouterr().err


def test_a_directory_without_labs_is_told_before_a_cluster_is_started(shut, monkeypatch, capsys):
    labs = shut()
    monkeypatch.setenv("K8SLAB_LABS", str(labs / "lost+found"))
    assert cli.run(["lab"]) == 2
    assert f"there is no lab in {labs}/lost+found" in capsys.readouterr().err


def test_what_else_stands_beside_a_lab_may_be_shut(shut, monkeypatch):
    labs = shut("lost+found", "the labs")
    assert served(monkeypatch)["labs"] == labs
    shut("lost+found", "the labs", "90-example")
    assert served(monkeypatch, "91-another")["labs"] == labs


def test_without_a_browser_the_way_from_another_machine_is_told(monkeypatch, capsys):
    served(monkeypatch)["ready"]("http://127.0.0.1:8890/lab?token=abc")
    told = capsys.readouterr()
    assert told.out == "http://127.0.0.1:8890/lab?token=abc\n"
    assert f"ssh -L 8890:127.0.0.1:8890 {socket.gethostname()}\n" in told.err


def test_what_to_do_when_a_browser_cannot_read_our_page_is_told(monkeypatch, capsys):
    """A browser from a snap, or one outside of the machine that Linux runs in, cannot."""
    monkeypatch.setattr(browser, "opener", lambda *_: nullcontext(lambda _url: True))
    served(monkeypatch)["ready"]("http://127.0.0.1:8890/lab?token=abc")
    told = capsys.readouterr()
    assert told.out == "http://127.0.0.1:8890/lab?token=abc\n"
    assert "show no page, open the address above in it\n" in told.err
    assert "ssh" not in told.err


def test_a_lab_elsewhere_is_served_from_where_it_is(monkeypatch, tmp_path):
    shutil.copytree(SOLUTIONS / "90-example", tmp_path / "mine" / "90-example")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found = served(monkeypatch, "../mine/90-example")
    assert found["labs"].resolve() == tmp_path / "mine"
    assert (found["labs"] / found["notebook"]).parent.is_dir()
    assert served(monkeypatch, "90")["labs"] == SOLUTIONS


def test_a_lab_in_a_directory_of_another_name_is_opened_there(monkeypatch, tmp_path):
    shutil.copytree(SOLUTIONS / "90-example", tmp_path / "Übung #1")
    found = served(monkeypatch, str(tmp_path / "Übung #1"))
    assert (found["labs"], found["notebook"]) == (tmp_path, "%C3%9Cbung%20%231/90-example.ipynb")
    Journal().add("90-example", "check", "protect")
    found = served(monkeypatch, str(tmp_path / "Übung #1"), "--resume")
    assert found["notebook"] == "%C3%9Cbung%20%231/90-example.ipynb"


def test_a_path_that_leads_up_is_opened_by_its_name(monkeypatch, tmp_path):
    lab = shutil.copytree(SOLUTIONS / "90-example", tmp_path / "mine")
    monkeypatch.chdir(lab / "manifests")
    found = served(monkeypatch, "..")
    assert (found["labs"], found["notebook"]) == (tmp_path, "mine/90-example.ipynb")


def test_options_of_jupyterlab_need_no_lab_before_them(monkeypatch):
    found = served(monkeypatch, "--", "--debug", "--no-mathjax")
    assert (found["notebook"], found["arguments"]) == ("", ("--debug", "--no-mathjax"))
    found = served(monkeypatch, "90", "--", "--debug")
    assert (found["notebook"], found["arguments"]) == ("90-example/90-example.ipynb", ("--debug",))
