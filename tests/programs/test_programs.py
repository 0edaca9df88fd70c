import sys

import pytest

from k8slab import programs
from k8slab.errors import EnvironmentLacksError, ProgramError
from k8slab.programs.packages import how_to_install, package_manager


def test_a_program_returns_its_output_and_exit_code():
    done = programs.run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin="hi", check=False)
    assert (done.code, done.stdout, done.stderr, done.ok) == (3, "hi", "oops\n", False)


def test_a_failing_program_gives_a_command_that_can_be_pasted_and_its_last_words():
    with pytest.raises(ProgramError) as caught:
        programs.run(["sh", "-c", "echo 'no such thing' >&2; exit 2"])
    assert caught.value.command == "sh -c 'echo '\"'\"'no such thing'\"'\"' >&2; exit 2'"
    assert str(caught.value).startswith("sh failed with exit code 2\n  command: sh -c")
    assert "no such thing" in caught.value.output


def test_a_program_that_takes_too_long_is_ended():
    with pytest.raises(ProgramError, match=r"sleep did not end within 0\.05 s"):
        programs.run(["sleep", "30"], deadline=0.05)


def test_the_environment_is_added_to_ours():
    code = "import os; print(os.environ['K8SLAB_TEST'], 'PATH' in os.environ)"
    assert programs.run([sys.executable, "-c", code], env={"K8SLAB_TEST": "x"}).stdout == "x True\n"


def test_a_missing_program_says_what_to_install():
    with pytest.raises(EnvironmentLacksError, match="no-such-program was not found") as caught:
        programs.run(["no-such-program"])
    assert caught.value.hint
    assert caught.value.exit_code == 3


def test_a_program_in_sbin_is_found_without_sbin_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert programs.find("ip").endswith("/ip")


def test_a_file_that_cannot_be_run_is_named(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    with pytest.raises(ProgramError, match="cannot be run"):
        programs.run([str(broken)])


def test_output_that_is_no_text_does_not_fail():
    assert programs.run(["printf", r"a\377b"]).stdout == "a\ufffdb"


class Recorder:
    def __init__(self):
        self.calls = []

    def find(self, program):
        return f"/fake/{program}"

    def run(self, argv, *, deadline, stdin, env):
        self.calls.append([*argv])
        return programs.Completed(tuple(argv), 0, "fine\n")


def test_a_fake_stands_in_for_every_program_and_only_for_the_length_of_the_body():
    recorder = Recorder()
    with programs.replaced(recorder):
        assert programs.run(["docker", "ps"]).stdout == "fine\n"
    assert recorder.calls == [["/fake/docker", "ps"]]
    assert programs.run(["true"]).ok


@pytest.mark.parametrize(
    ("text", "manager"),
    [
        ("ID=debian\n", "apt"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "apt"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf"),
        ("ID=arch\n", "pacman"),
        ('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\n', "zypper"),
        ("ID=alpine\n", "apk"),
        ("ID=plan9\n", None),
        ("# nothing\n", None),
    ],
)
def test_the_package_manager_follows_os_release(tmp_path, text, manager):
    file = tmp_path / "os-release"
    file.write_text(text)
    assert package_manager(file) == manager


def test_without_os_release_no_package_manager_is_assumed(tmp_path):
    assert package_manager(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("program", "manager", "line"),
    [
        ("dig", "apt", "install it: sudo apt-get install bind9-dnsutils"),
        ("dig", "dnf", "install it: sudo dnf install bind-utils"),
        ("ip", "dnf", "install it: sudo dnf install iproute"),
        ("dot", "brew", "install it: brew install graphviz"),
        ("kind", "apt", "kind.sigs.k8s.io/docs/user/quick-start tells how to install it"),
        ("strange", "apt", "install the package that has the program strange"),
    ],
)
def test_each_distribution_gets_its_own_line(program, manager, line):
    assert how_to_install(program, manager=manager) == line
