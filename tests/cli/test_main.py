import os
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import pytest

from k8slab.cli.main import k8slab as group
from k8slab.errors import ClusterNotReadyError, EnvironmentLacksError, UsageError

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
COMMANDS = sorted(group.commands)
GROUPS = {
    name: sorted(command.commands)
    for name, command in group.commands.items()
    if isinstance(command, click.Group)
}
INSIDE = [(name, command) for name, commands in GROUPS.items() for command in commands]
NEED_NO_CLUSTER = {
    "bundle",
    "completion",
    "list",
    "doctor",
    "images",
    "grade",
    "policy lint",
    "challenge list",
    *GROUPS,
}
NEED_NO_CLUSTER |= {f"author {command}" for command in GROUPS["author"]} - {"author preview"}


def test_the_help_lists_every_command_of_the_course(k8slab):
    ran = k8slab("--help")
    assert ran.code == 0
    wanted = "up down reset list status kubeconfig env doctor images lab check hint progress"
    assert set(wanted.split()) <= set(re.findall(r"^  (\w+)", ran.out, re.MULTILINE))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(k8slab, command):
    ran = k8slab(command, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: k8slab {command}")
    assert len(ran.out.splitlines()) > 3


@pytest.mark.parametrize("path", INSIDE, ids=" ".join)
def test_every_command_of_a_group_explains_itself(k8slab, path):
    ran = k8slab(*path, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: k8slab {' '.join(path)}")


@pytest.mark.parametrize("command", sorted({*COMMANDS, *map(" ".join, INSIDE)} - NEED_NO_CLUSTER))
def test_every_command_about_a_cluster_takes_its_name(k8slab, command):
    assert "--name NAME" in k8slab(*command.split(), "--help").out


def test_the_version_is_printed(k8slab):
    assert re.fullmatch(r"k8slab \d+\.\d+\.\d+\n", k8slab("--version").out)


@pytest.mark.parametrize("argv", [["fly"], ["up", "--fly"], ["up", "--nodes", "many"]])
def test_wrong_usage_is_exit_code_2_on_stderr(k8slab, argv):
    ran = k8slab(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ClusterNotReadyError("no answer", hint="wait"), 1),
        (UsageError("cannot be", hint="do this"), 2),
        (EnvironmentLacksError("nft was not found", hint="install it"), 3),
    ],
)
def test_errors_are_told_on_stderr_with_their_exit_code_and_no_traceback(k8slab, fake, error, code):
    fake.error = error
    ran = k8slab("up")
    assert (ran.code, ran.out) == (code, "")
    assert ran.err == f"error: {error.message}\n  {error.hint}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_comes_for_each_shell(k8slab, shell):
    ran = k8slab("completion", shell)
    assert ran.code == 0
    assert "_K8SLAB_COMPLETE" in ran.out


def test_completion_offers_the_clusters_that_there_are(k8slab, fake, process):
    k8slab("up", "--name", "blue")
    environment = {
        **os.environ,
        "_K8SLAB_COMPLETE": "bash_complete",
        "COMP_WORDS": "k8slab status --name b",
        "COMP_CWORD": "3",
    }
    assert process(env=environment).stdout == "plain,blue\n"


def test_completion_says_nothing_where_the_clusters_cannot_be_looked_at(process, tmp_path):
    (tmp_path / "file").touch()
    environment = {
        **os.environ,
        "K8SLAB_HOME": str(tmp_path / "file"),
        "_K8SLAB_COMPLETE": "bash_complete",
        "COMP_WORDS": "k8slab status --name b",
        "COMP_CWORD": "3",
    }
    ran = process(env=environment)
    assert (ran.stdout.strip(), ran.stderr) == ("", "")


@pytest.fixture
def unread():
    """Give the end of a pipe whose reader has gone before anything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        yield unread


MAIN = [sys.executable, "-c", "from k8slab.cli.main import main; main()"]


@pytest.mark.parametrize("argv", [["completion", "bash"], ["--help"], ["up", "--help"]])
def test_a_closed_pipe_is_no_traceback_and_no_answer(unread, argv):
    done = subprocess.run(
        [*MAIN, *argv], stdout=unread, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_wrong_usage_stays_that_when_nobody_reads_why(unread):
    assert subprocess.run([*MAIN, "fly"], stderr=unread, check=False, timeout=60).returncode == 2


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_stream_takes_nothing_from_the_others(closed):
    """What is for one of them goes neither to another nor into a file that got its number."""
    code = "from k8slab.cli.main import main; main()"
    script = f'"$@" images {closed}; printf " %d" $?; "$@" fly {closed}; printf " %d" $?'
    argv = ["sh", "-c", script, "sh", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split()[-2:] == ["0", "2"]
    assert ("busybox" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))
    assert ("No such command" in done.stderr) == ("2>&-" not in closed)
    assert "fly" not in done.stdout
    assert "Traceback" not in done.stderr


def test_closed_standard_input_is_empty():
    code = "from k8slab.cli.main import main; main()"
    argv = ["sh", "-c", '"$@" <&-', "sh", sys.executable, "-c", code, "policy", "lint", "-"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_says_so_and_exits_with_130(tmp_path):
    """A start that waits for another command's lock is interrupted."""
    code = (
        "from k8slab.clusters import records\n"
        "with records.locked('blue', waiting=print):\n"
        "    print('held', flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        command = "from k8slab.cli.main import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", command, "up", "--name", "blue", "--provider", "existing"],
            stderr=subprocess.PIPE,
            text=True,
        ) as up:
            assert _waits_for_a_lock(up.pid)
            up.send_signal(signal.SIGINT)
            assert up.communicate(timeout=60)[1].endswith("interrupted\n")
            assert up.returncode == 130
        holder.communicate("\n")


INTERRUPTED_AT = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from {module} import {function}
{function}()
"""


@pytest.mark.parametrize("name", ["click", "k8slab.cli.agents", "k8slab.errors"])
def test_ctrl_c_before_the_command_has_begun_is_no_traceback(name):
    scripts = tomllib.loads(PROJECT.read_text())["project"]["scripts"]
    module, _, function = scripts["k8slab"].partition(":")
    code = INTERRUPTED_AT.format(name=name, module=module, function=function)
    argv = [sys.executable, "-c", code, "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def _waits_for_a_lock(pid):
    """Say (within a bounded time) whether the process waits in flock(2): proc_locks(5)."""
    ends = time.monotonic() + 60
    waiting = re.compile(rf"-> FLOCK .* {pid} ")
    while time.monotonic() < ends:
        if waiting.search(Path("/proc/locks").read_text()):
            return True
    return False


def processor_time(*argv):
    """Return the seconds that a Python takes, of the processor: others run on this machine too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *argv], check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "argv",
    [("-c", "from k8slab.cli.main import main; main()", "--help"), ("-c", "import k8slab")],
    ids=["help", "import"],
)
def test_help_and_import_answer_at_once(argv):
    """150 ms on an idle machine, where `import click` takes 60: elsewhere as many times that.

    A processor is slower at some moments, also for this time: one of ten pairs will do.
    """
    assert any(
        processor_time(*argv) < 2.5 * processor_time("-c", "import click") for _ in range(10)
    )


def test_no_heavy_library_is_imported_for_the_help():
    code = (
        "import sys, k8slab, k8slab.cli.main;"
        "heavy = {'kubernetes', 'yaml', 'IPython', 'asyncio', 'cryptography', 'orjson',"
        " 'websockets', 'graphviz', 'jupyterlab', 'ipywidgets'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
