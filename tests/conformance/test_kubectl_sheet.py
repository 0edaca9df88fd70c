"""The sheet for learners: each of its commands is run as it stands, and it fits one page."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHEET = ROOT / "book" / "kubectl-sheet.md"
LINES = re.findall(r"```sh\n(.*?)```", SHEET.read_text(encoding="utf-8"), re.DOTALL)
COMMANDS = [line.partition("  # ")[0].strip() for line in "".join(LINES).splitlines()]

ENDLESS = {"-w", "-f deployment/web", "port-forward"}
"""What goes on until somebody stops it: its first line is read, then it is stopped."""

SAYS = {
    "kubectl get pod box -o jsonpath": r"^10\.244\.\d+\.\d+$",
    "kubectl get pods -l": r"app=web",
    "kubectl explain": r"FIELD: ingress",
    "kubectl edit": r"Edit cancelled, no changes made",
    "kubectl patch": r"service/web patched$",
    "kubectl exec me -- ip route": r"^default via 169\.254\.1\.1 ",
    "kubectl exec me -- curl": r"^pod: web-",
    "kubectl exec me -- dig": r"^10\.96\.",
    "kubectl run once": r"^pod: web-",
    "kubectl port-forward": r"^Forwarding from 127\.0\.0\.1:",
    "kubectl exec -it": r"in the shell",
    "kubectl debug": r"in the shell",
}
"""What some of them must have said: a part of the output."""


def line_for(command, namespace):
    """Return what the test's shell runs: names that are free here, an end for what has none."""
    line = command.replace(" shop", f" {namespace}").replace("=shop", f"={namespace}")
    line = line.replace(".shop.", f".{namespace}.").replace(" 8080:80", " :80")
    line = line.replace(" -m 2 ", " -m 30 ")  # the machine may be busy
    if any(word in line for word in ENDLESS):
        return f"exec 3< <(exec {line}); read -r said <&3; kill $!; echo $said"
    if " -it " in line:
        typed = "echo in the' 'shell; exit" if line.endswith("sh") else ""
        return f"script -qec {shlex.quote(line)} /dev/null <<< {shlex.quote(typed)} | tr -d '\\r'"
    return line


def test_every_command_of_the_sheet_works(base, namespace, cluster):
    wrong = []
    for command in COMMANDS:
        settings = {"KUBE_EDITOR": "true", "K8SLAB_CLUSTER": cluster.name}
        done = base(line_for(command, namespace), **settings)
        said = done.stdout.decode(errors="replace")
        wanted = next((SAYS[start] for start in SAYS if command.startswith(start)), "")
        if done.returncode or not re.search(wanted, said, re.MULTILINE):
            wrong.append(f"$ {command}\n{said}[exit {done.returncode}] wanted: {wanted!r}")
    assert not wrong, "\n\n".join(wrong)
    assert [start for start in SAYS if not any(one.startswith(start) for one in COMMANDS)] == []


def test_each_command_has_its_meaning_and_no_line_is_long():
    lines = "".join(LINES).splitlines()
    assert len(lines) > 35
    assert [line for line in lines if "  # " not in line or len(line) > 100] == []


def test_the_labs_have_the_same_sheet():
    assert (ROOT / "labs" / SHEET.name).read_bytes() == SHEET.read_bytes(), "tools/generate.py"


def test_it_fits_one_printed_page(tmp_path):
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip("apt install chromium")
    from markdown_it import MarkdownIt  # noqa: PLC0415  only this test needs them
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    html = MarkdownIt().render(SHEET.read_text(encoding="utf-8"))
    style = "<style>body{font:9pt sans-serif} pre{font-size:8pt;margin:0}</style>"
    with sync_playwright() as play:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = play.chromium.launch(executable_path=str(chromium), args=flags, timeout=90_000)
        page = browser.new_page()
        page.set_content(style + html)
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "12mm")
        printed = page.pdf(format="A4", margin=margin)
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
