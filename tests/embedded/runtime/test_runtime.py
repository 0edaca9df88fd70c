"""Pods of a real, empty cluster, as root and as an ordinary user: see `stage` and `scenes`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from identities import NOBODY, python_as, users

HERE = Path(__file__).parent


@pytest.fixture(params=users())
def perform(request):
    """Run a scene on a stage of its own and return what it returned."""
    directory = Path(tempfile.mkdtemp(prefix="k8slab-stage-"))
    if request.param == "ordinary":
        os.chown(directory, NOBODY, NOBODY)

    def perform(name):
        stage = [str(HERE / "stage.py"), str(HERE / "scenes.py"), name, str(directory / "state")]
        done = subprocess.run(
            [*python_as(request.param), *stage],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    perform.user = request.param
    perform.has_one_id = request.param == "ordinary" or os.geteuid() != 0
    yield perform
    shutil.rmtree(directory)


def test_a_container_sees_only_itself(perform):
    seen = perform("isolation")
    assert seen["processes"][1].splitlines()[0] == "sleep 1000 "
    assert len(seen["processes"][1].splitlines()) == 2
    assert seen["hostname"] == [0, "pod-host\n", ""]
    assert seen["files"][1].split() == [
        *("/home:", "/mnt:", "/root:", "/run:"),
        *("ls:", "cannot", "access", "'/run/k8slab':", "No", "such", "file", "or", "directory"),
    ]
    assert "Read-only" in seen["usr"][2]
    assert seen["tmp"] == [0, "fine\n", ""]
    assert seen["user"] == [0, "0\n", ""]
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "shm"} <= set(
        seen["terminal"][1].split()
    )


def test_a_container_has_the_usual_rights_and_no_others(perform):
    seen = perform("isolation")
    assert "denied" in seen["mount"][2]
    assert "not permitted" in seen["link"][2]
    assert "Read-only" in seen["proc_sys"][2]
    assert seen["privileged_link"][0] == 0
    assert seen["added_link"][0] == 0
    assert seen["dropped_raw"][1].split(":")[1].strip() == f"{1 << 12:016x}"


def test_how_a_container_ended_is_reported(perform):
    assert perform("ends") == {
        "zero": [0, 0, "Completed"],
        "three": [3, 0, "Error"],
        # A signal to PID 1 from inside its own namespace does nothing, not even KILL.
        "killed": [4, 0, "Error"],
        "orphans": [5, 0, "Error"],
    }


def test_stop_sends_term_and_kills_what_does_not_listen(perform):
    seen = perform("stopping")
    assert seen["codes"] == [7, 137]
    assert seen["polite"] < 30
    assert seen["deaf"] >= 0.3


def test_what_cannot_run_is_refused_in_the_words_of_runc(perform):
    seen = perform("refusals")
    kind, message = seen["image"]
    assert kind == "ImageNotFoundError"
    assert "The nearest is nginx." in message
    start = "OCI runtime create failed: runc create failed: unable to start container process: "
    assert seen["program"] == [
        "ContainerCannotRunError",
        start + 'exec: "nothing-here": executable file not found in $PATH',
    ]
    assert seen["path"][1].endswith(
        '"/nothing/here": stat /nothing/here: no such file or directory'
    )
    assert seen["directory"][1].endswith('exec: "/tmp": is a directory')
    assert seen["plain"][1].endswith('exec: "/etc/hosts": permission denied')
    assert seen["minimal"][1] == start + 'exec: "sh": executable file not found in $PATH'
    assert seen["exec"][1].startswith("OCI runtime exec failed: exec failed: unable to start")


def test_exec_has_the_containers_surroundings_and_gives_its_exit_code(perform):
    seen = perform("execs")
    assert seen["code"] == [9, "blue\n/tmp/a\n", "bad\n"]
    assert seen["echoed"] == [0, 300_000]
    assert seen["killed"] == 137


def test_exec_on_a_terminal_has_its_size_and_its_interrupt(perform):
    seen = perform("terminal")
    assert "/dev/pts/0\r\n37 101\r\nongoing\r\n^C" in seen["text"]
    assert seen["code"] == 6


def test_attach_speaks_with_the_first_process(perform):
    seen = perform("attached")
    assert seen["line"] == "hello\n"
    assert seen["rest"] == [0, "", ""]
    # Whoever comes after the end of an interactive container gets what it said, once.
    assert seen["late"] == [[4, "quick\n", ""], [4, "", ""]]
    code, text = seen["terminal"]
    assert code == 2
    assert text.endswith("42\r\n")


def test_output_is_logged_line_by_line_in_cri_format(perform):
    seen = perform("logging")
    assert (seen["code"], seen["reason"]) == (1, "Error")
    records = sorted(line.split(" ", 1)[1] for line in seen["log"].splitlines())
    assert records == ["stderr F err", "stdout F out", "stdout P unfinished line"]


def test_logs_are_read_in_parts_and_followed_to_their_end(perform):
    seen = perform("log_reading")
    assert seen["all"] == "".join(f"line {number}\n" for number in range(1, 6))
    assert seen["tail"] == "line 5\n"
    assert seen["limit"] == "line 1\nl"
    assert seen["since"] == ""
    assert seen["timestamps"].endswith("Z line 5\n")
    assert seen["follow"] == "line 4\nline 5\nlater\nend"


def test_an_endless_log_is_rotated(perform):
    seen = perform("flood")
    assert seen["reason"] == "Completed"
    assert all(0 < size <= 10 * 2**20 for size in seen["sizes"])


def test_volumes_are_shared_and_their_files_change_all_at_once(perform):
    seen = perform("volumes")
    assert seen["read"] == [0, "from one\n", ""]
    assert seen["config"] == [0, "blue1blue", ""]
    assert "Read-only" in seen["read_only"][2]
    assert seen["watched"] == [0, "", ""]
    # A file mounted by subPath keeps what it had, as in a real cluster.
    assert seen["updated"] == [0, "a\nb\n29blue", ""]
    assert "No space left" in seen["full"][2]


def test_no_part_of_a_volume_leads_out_of_it(perform):
    seen = perform("leading_out")
    outcomes = seen["outcomes"]
    for path in ("out", "out/new", "up/..", "../..", "files ../../../../k8slab"):
        assert "it leads out of the volume" in outcomes[path], path
    assert "No such file" in outcomes["files b"]
    assert "text" in outcomes["file"]
    assert outcomes["files a"].startswith("1")
    assert all("cannot access '/x'" not in outcomes[path] for path in ("within/deep", "new/er"))
    for path in ("old/planted", "run/planted", "run/planted.conf", "dangling"):
        assert "create failed" in outcomes[f"target {path}"], path
    assert not {"planted", "planted.conf", "new"} & set(outcomes["run"].split())
    assert (seen["inside"], seen["mounts"]) == (["secret"], 0)


def test_a_mount_that_was_refused_once_is_made_the_next_time(perform):
    seen = perform("refused_mounts")
    code, text, _ = seen["seen"]
    assert (code, text.split()) == (0, ["1", "65536"])  # the file; what emptyDirs may hold, in KiB
    assert seen["refused"] == 1
    assert "other" not in seen["left"]


def test_a_killed_command_keeps_no_descriptor_although_its_children_run_on(perform):
    seen = perform("killed_commands")
    assert seen["said"] == ["", "", ""]
    assert [code for code, _ in seen["counts"]] == [137] * 3
    assert len({descriptors for _, descriptors in seen["counts"]}) == 1


def test_a_fork_bomb_and_an_endless_writer_are_bounded_and_told(perform):
    seen = perform("bounds")
    code, _, complaint = seen["bomb"]
    assert code == 2
    assert "Cannot fork" in complaint
    assert seen["neighbour"] == [0, "fine\n", ""]
    assert "No space left" in seen["writer"][2]


def test_processes_are_shared_on_request(perform):
    seen = perform("shared_processes")
    assert seen["debugger"][1].splitlines()[:2] == ["sleep 1234 ", "sleep 1000 "]
    lines = [line.strip() for line in seen["one"][1].splitlines()]
    assert lines[:3] == ["/pause", "sleep 4321", "sleep 5432"]
    assert seen["other"] == [0, "pause\n", ""]


def test_another_user_has_no_rights(perform):
    seen = perform("users")
    code, answer, _ = seen["id"]
    assert code == 0
    assert answer.splitlines()[0] == "1234"
    assert " 1234 " in answer.splitlines()[1]
    assert seen["caps"][1].split()[1] == "0" * 16
    assert seen["ping"][0] == 0
    assert seen["port"] == [0, "124\n", ""]
    if not perform.has_one_id:
        assert "denied" in seen["root"][2]


def test_an_app_runs_in_a_root_without_programs(perform):
    seen = perform("apps")
    assert seen["answer"].startswith("HTTP/1.1 200 OK\r\n")
    assert seen["command"] == ["web", "--port=8080"]
    assert seen["stop"] < 30


def test_commands_on_a_node_may_change_its_network(perform):
    seen = perform("nodes")
    assert seen["hostname"] == [0, "node-1\n", ""]
    assert seen["routes"] == [0, "10.9.0.0/16 dev lo scope link \n", ""]
    assert seen["table"] == [0, "", ""]
    assert seen["late"] == [124, "first\n", ""]


def test_an_app_of_the_cluster_enters_the_namespaces_it_gets(perform):
    name, code, log = perform("world")
    assert (name, code) == ("scenes:world_app", 3)
    assert log.endswith("F ['--x'] 1 moved\n")


def test_a_pod_on_its_nodes_network_may_use_it_and_not_change_it(perform):
    seen = perform("host_network")
    assert seen["same"] == seen["wanted"]
    assert seen["ping"][0] == 0
    assert "not permitted" in seen["admin"][2]


def test_tcpdump_captures_live(perform):
    seen = perform("captures")
    code, packets, complaints = seen["live"]
    assert code == 0
    assert len(packets.splitlines()) == 2
    assert all("127.0.0.1 > 127.0.0.1: ICMP echo" in line for line in packets.splitlines())
    assert "listening on lo, link-type EN10MB (Ethernet), snapshot length" in complaints
    assert "\n2 packets captured\n" in complaints
    assert seen["nonsense"] == [1, "", "tcpdump: unknown port 'nonsense'\n"]
    assert seen["missing"][2].startswith("tcpdump: eth9: No such device")


def test_the_learners_tools_work(perform):
    seen = perform("tools")
    assert seen["curl"] == [0, "hello", ""]
    assert "connection refused" in seen["dig"][1]
    assert "127.0.0.1/8" in seen["ip"][1]
    assert seen["trust"][0] == 0


def test_apps_draw_numbers_of_their_own_and_may_start_threads(perform):
    drawn = [line.split()[-1] for line in perform("draws").splitlines()]
    assert len(drawn) == len(set(drawn)) == 3


def test_a_pod_starts_when_the_helper_in_its_sandbox_was_killed(perform):
    assert perform("killed_helper") == [0, "own\n", ""]


def test_pods_start_quickly_and_leave_nothing(perform):
    seen = perform("speed")
    assert seen["median"] < 1
    assert seen["removing"] < 2
    # What is left beside the spares: init, zygote, daemon.
    assert seen["left"] <= 3
