"""policy audit, policy lint: what is wrong, where, and what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from k8slab.cli import options, sources
from k8slab.cli.console import show, show_json, tell, write_file

if TYPE_CHECKING:
    from k8slab.audit import Finding, Report
    from k8slab.errors import ManifestError

SEVERITIES = ("error", "warning", "note")
FORMATS = ("text", "json", "sarif", "html")

fail_on = click.option(
    "--fail-on",
    type=click.Choice([*SEVERITIES, "never"]),
    default="warning",
    show_default=True,
    help="The least severity that makes the exit code 1.",
)


@click.command(
    short_help="Look for what is wrong with the policies of an estate.",
    epilog=options.examples(
        "k8slab policy audit",
        "k8slab policy audit deploy/ --fail-on error",
        "k8slab policy audit deploy/ -o sarif --out audit.sarif",
        "k8slab policy audit --rules pci-dss-v4 -o html --out audit.html",
    ),
)
@click.argument("paths", nargs=-1, type=click.Path(allow_dash=True), metavar="[PATH]...")
@sources.manifests
@options.name
@options.as_json
@click.option("-o", "--output", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False), callback=options.placed, help="Write to a file."
)
@click.option(
    "--rules",
    metavar="FILE",
    default="",
    shell_complete=sources.complete_rules,
    help="Annotations that are asked for, and suppressions; pci-dss-v4 is shipped as an example.",
)
@fail_on
def audit(
    *,
    paths: tuple[str, ...],
    manifests: tuple[str, ...],
    name: str,
    as_json: bool,
    output: str,
    out: str | None,
    rules: str,
    fail_on: str,
) -> int:
    """Look for what is wrong with the policies of an estate.

    Finds pods without policy, namespaces without default deny, rules that match nobody, do
    nothing or admit too much, DNS that is denied, Services that policies close, and what a
    rule file asks for. Exit code 1 when something is found (see --fail-on).
    """
    from k8slab import audit as room  # noqa: PLC0415
    from k8slab.audit import rulefile  # noqa: PLC0415

    asked = rulefile.load(rules) if rules else None
    report = room.audit(sources.gather((*manifests, *paths), name), asked)
    told = _render(report, "json" if as_json else output)
    if out:
        write_file(out, f"{told}\n".encode())
        tell(f"{report.summary}; written to {out}")
    else:
        show(told)
    return _exit_code(report.findings, fail_on)


def _render(report: Report, form: str) -> str:
    import json  # noqa: PLC0415

    from k8slab.audit.report import html, sarif, text  # noqa: PLC0415

    match form:
        case "json":
            return json.dumps(text.to_json(report), indent=2)
        case "sarif":
            return json.dumps(sarif.sarif(report), indent=2)
        case "html":
            return html.html(report)
    return text.text(report)


def _exit_code(findings: tuple[Finding, ...] | list[Finding], least: str) -> int:
    if least == "never":
        return 0
    bad = SEVERITIES[: SEVERITIES.index(least) + 1]
    return 1 if any(finding.severity.value in bad for finding in findings) else 0


@click.command(
    short_help="Check manifests one by one, for editors and pre-commit.",
    epilog=options.examples(
        "k8slab policy lint deploy/",
        "k8slab policy lint --fail-on error a.yaml b.yaml",
        "helm template . | k8slab policy lint -",
    ),
)
@click.argument("paths", nargs=-1, type=click.Path(allow_dash=True), metavar="[PATH]...")
@sources.manifests
@options.as_json
@fail_on
def lint(*, paths: tuple[str, ...], manifests: tuple[str, ...], as_json: bool, fail_on: str) -> int:
    """Check manifests one by one: what the API would refuse, and traps in NetworkPolicies.

    No cluster and no other object is needed, so it suits editors and pre-commit:
    findings are lines as compilers print them. A file that cannot be read is one finding.
    """
    from k8slab import audit as room  # noqa: PLC0415
    from k8slab.errors import ManifestError  # noqa: PLC0415

    wanted = (*manifests, *paths)
    if not wanted:
        raise click.UsageError("give files or directories; - is standard input")
    faults, given = [], []
    for path in wanted:
        try:
            given += sources.read([path])
        except ManifestError as error:
            faults.append(error)
    found = room.lint(given)
    if as_json:
        told = [_unreadable(fault) for fault in faults]
        show_json([*told, *(finding.to_json() for finding in found)])
    else:
        from k8slab.audit.report.text import compiler_lines  # noqa: PLC0415

        for fault in map(_unreadable, faults):
            hint = f" ({fault['remedy']})" if "remedy" in fault else ""
            show(f"{fault['place']}: error: {fault['message']}{hint} [unreadable]")
        sys.stdout.writelines(f"{line}\n" for line in compiler_lines(found))
    return 2 if faults else _exit_code(found, fail_on)


def _unreadable(fault: ManifestError) -> dict[str, str]:
    """Return a file that cannot be read as a finding."""
    found = {
        "check": "unreadable",
        "severity": "error",
        "message": fault.message.removeprefix(f"{fault.place}: "),
        "place": fault.place,
        "remedy": fault.hint,
    }
    return {key: value for key, value in found.items() if value}
