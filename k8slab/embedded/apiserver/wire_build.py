"""Compile field numbers of the API's protobuf form from the Go modules that define it.

kubectl sends what ``create`` makes as protobuf and cannot be told otherwise, so requests must be
read in that form. The numbers stand in the struct tags of ``types.go`` (Apache-2.0) of the modules
``k8s.io/api`` and ``k8s.io/apimachinery``::

    go mod download -json k8s.io/api@v0.37.2 k8s.io/apimachinery@v0.37.2
    python -m k8slab.embedded.apiserver.wire_build API_DIRECTORY APIMACHINERY_DIRECTORY

It writes ``wire_table.json``: for each type ``{number: [JSON name, pointer, inlined type]}``. A
pointer's zero is a value, any other zero means absent; an inlined type has no name of its own.
And ``enum_table.json``: for each type ``{JSON name: [values]}`` of the fields whose type carries
the marker ``+enum``, which ``kubectl explain`` shows.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.schema import raw_table
from k8slab.embedded.apiserver.schema_build import META, text

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = Path(__file__).with_name("wire_table.json")
ENUMS = Path(__file__).with_name("enum_table.json")

_STRUCT = re.compile(r"^type (\w+) struct \{$")
_FIELD = re.compile(r"^\s+(?:(?P<name>\w+)\s+)?(?P<type>[\w.*\[\]]+)\s+`(?P<tags>[^`]*)`")
_JSON = re.compile(r'json:"([^"]*)"')
_ENUM = re.compile(r"^// \+enum\n(?://.*\n)*type (\w+) string$", re.MULTILINE)
_CONSTANT = re.compile(r'^(?:const|\t)\s*\w+\s+(\w+)\s*=\s*"([^"]*)"', re.MULTILINE)
_WIRE = re.compile(r'protobuf:"[a-z0-9]+,(\d+),')


def build(api: Path, machinery: Path) -> dict[str, Any]:
    """Return the table of all types that the schemas name, and of what is inlined in them."""
    structs: dict[str, dict[str, list[Any]]] = {}
    for file in sorted(api.glob("*/*/types.go")):
        package = f"io.k8s.api.{file.parts[-3]}.{file.parts[-2]}"
        structs |= _structs(file, package)
    structs |= _structs(machinery / "pkg/apis/meta/v1/types.go", META)
    wanted = [name for name in raw_table() if name in structs]
    table: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name in table:
            continue
        table[name] = structs[name]
        wanted += [row[2] for row in structs[name].values() if row[2] in structs]
    return dict(sorted(table.items()))


def build_enums(api: Path) -> dict[str, dict[str, list[str]]]:
    """Return the values of the fields of all types that the schemas name, sorted."""
    values: dict[str, list[str]] = {}
    files = {f"io.k8s.api.{f.parts[-3]}.{f.parts[-2]}": f for f in sorted(api.glob("*/*/types.go"))}
    for package, file in files.items():
        source = file.read_text()
        marked = set(_ENUM.findall(source))
        for word, value in _CONSTANT.findall(source):
            if word in marked:
                values.setdefault(f"{package}.{word}", []).append(value)
    table: dict[str, dict[str, list[str]]] = {}
    for package, file in files.items():
        for owner, name, word in _typed_fields(file, package):
            if owner in raw_table() and word in values:
                table.setdefault(owner, {})[name] = sorted(set(values[word]))
    return dict(sorted(table.items()))


def _typed_fields(file: Path, package: str) -> Iterator[tuple[str, str, str]]:
    """Yield type, JSON name and full Go type of each field of a file's structures."""
    owner = ""
    for line in file.read_text().splitlines():
        if match := _STRUCT.match(line):
            owner = f"{package}.{match[1]}"
        elif line == "}":
            owner = ""
        elif owner and (match := _FIELD.match(line)) and (name := _JSON.search(match["tags"])):
            word = match["type"].lstrip("*[]")
            local = f"{package}.{word}"
            core = f"io.k8s.api.core.v1.{word.rpartition('.')[2]}"
            yield owner, name[1].partition(",")[0], core if "." in word else local


def _structs(file: Path, package: str) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {}
    fields: dict[str, list[Any]] | None = None
    for line in file.read_text().splitlines():
        if match := _STRUCT.match(line):
            fields = found[f"{package}.{match[1]}"] = {}
        elif line == "}":
            fields = None
        elif fields is not None and (match := _FIELD.match(line)):
            number, name = _WIRE.search(match["tags"]), _JSON.search(match["tags"])
            if not number or not name:
                continue
            word = name[1].partition(",")[0]
            kind = match["type"]
            inlined = "" if word else f"{package}.{kind.lstrip('*').rpartition('.')[2]}"
            fields[number[1]] = [word, int(kind.startswith("*")), inlined]
    return found


if __name__ == "__main__":
    TABLE.write_bytes(text(build(Path(sys.argv[1]), Path(sys.argv[2]))))
    ENUMS.write_bytes(text(build_enums(Path(sys.argv[1]))))
