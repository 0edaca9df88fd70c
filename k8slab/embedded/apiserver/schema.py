"""Read a request's object by its type: drop what is unknown, refuse what has the wrong type.

The types come from ``schema_table.json`` (see `schema_build`), which is read at the first use.
What a real server's decoder does with Go structures is done here with the table: unknown fields
are dropped and reported, ``null`` means absent, quantities may be numbers, and a wrong type is
400 with the decoder's message. A structure in Go has all its fields, so that a required text,
number or truth value which nobody gave is there as its zero value (`Type.zeros`): what reads
objects later may count on it, and what validates them says which may not be empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import scalars
from k8slab.embedded.apiserver.list_rules import ListRule, rule_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

_GO_TYPES = {
    "string": "string",
    "integer": "int32",
    "intstr": "int32",  # IntOrString reads as a number what is no text
    "boolean": "bool",
    "number": "float64",
}

_WIDE = frozenset(
    {
        "activeDeadlineSeconds",
        "capacity",
        "deletionGracePeriodSeconds",
        "expirationSeconds",
        "fsGroup",
        "generation",
        "gid",
        "gracePeriodSeconds",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minItems",
        "minLength",
        "minProperties",
        "observedGeneration",
        "remainingItemCount",
        "revision",
        "runAsGroup",
        "runAsUser",
        "seconds",
        "sizeBytes",
        "supplementalGroups",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
        "uid",
    }
)
"""Integers of 64 bits in the API's Go types; all others have 32."""

_ZEROS: dict[str, Any] = {"string": "", "integer": 0, "boolean": False}

_CUSTOM = "io.k8s.api.policy.v1alpha2."
"""Types that are custom resources elsewhere: no Go structure fills in what is not given."""


class WrongTypeError(ValueError):
    """A value has the wrong JSON type; the message is the decoder's, `path` the field's."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type."""

    name: str
    shape: str
    """``""`` for one value, ``[`` for a list, ``{`` for a map."""
    word: str
    """``string`` and so on, or the name of a type."""
    rule: ListRule | None
    is_type: bool
    """`word` names a type."""

    @property
    def is_wide(self) -> bool:
        """Say whether an integer has 64 bits."""
        return self.name in _WIDE


@dataclass(frozen=True, slots=True)
class Type:
    """One structure of the API."""

    name: str
    word: str
    """The name without its package."""
    fields: dict[str, Field]
    required: tuple[str, ...]
    zeros: tuple[tuple[str, Any], ...] = ()
    """Required fields that are never absent, with the value of one that was not given."""


@lru_cache(maxsize=1)
def raw_table() -> dict[str, Any]:
    """Return the table as it is written."""
    table: dict[str, Any] = orjson.loads(Path(__file__).with_name("schema_table.json").read_bytes())
    return table


@lru_cache(maxsize=1024)
def type_of(name: str) -> Type:
    """Return a type by its full name."""
    if name in _added:
        return _added[name]
    row = raw_table()[name]
    fields = {}
    for key, spelled in row["f"].items():
        shape = spelled[0] if spelled[0] in "[{" else ""
        word = spelled[len(shape) :]
        fields[key] = Field(key, shape, word, rule_of(name, key), "." in word)
    required = tuple(row.get("r", ()))
    plain = () if name.startswith(_CUSTOM) else required
    zeros = tuple((key, _ZEROS[row["f"][key]]) for key in plain if row["f"][key] in _ZEROS)
    return Type(name, name.rpartition(".")[2], fields, required, zeros)


_added: dict[str, Type] = {}


def add_type(made: Type) -> None:
    """Make a type known that the table does not have (a custom resource's)."""
    _added[made.name] = made


@lru_cache(maxsize=256)
def root_name(group: str, version: str, kind: str) -> str:
    """Return the type's name of a kind, or an empty string when there is no schema."""
    name = f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"
    if name in raw_table():
        return name
    meta = f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"
    return meta if meta in raw_table() else ""


def type_of_kind(kind: Kind) -> Type | None:
    """Return the type of a served kind, ``None`` where it has no schema."""
    if kind.custom:
        return kind.custom.type
    name = root_name(kind.group, kind.version, kind.kind)
    return type_of(name) if name else None


@dataclass(slots=True)
class Decoder:
    """One decoding; `unknown` collects the paths of fields that were dropped."""

    root: str
    complete: bool = True
    """Give required fields their zero values; not for what states only some fields (apply)."""
    unknown: list[str] = field(default_factory=list)

    def structure(self, value: Any, schema: Type, path: str) -> None:
        """Check and clean one structure in place."""
        fields = schema.fields
        dropped = []
        for key, item in value.items():
            known = fields.get(key)
            if known is None:
                self.unknown.append(f"{path}.{key}" if path else key)
                dropped.append(key)
            elif item is None:
                dropped.append(key)
            else:
                where = f"{path}.{key}" if path else key
                cleaned = self._field(item, known, schema, where)
                if cleaned is None:
                    dropped.append(key)
                elif cleaned is not item:
                    value[key] = cleaned
        for key in dropped:
            del value[key]
        if self.complete:
            for key, zero in schema.zeros:
                value.setdefault(key, zero)

    def _field(self, value: Any, known: Field, owner: Type, path: str) -> Any:
        if known.shape == "[":
            if type(value) is not list:
                raise self._wrong(value, known, owner, path, shape="[")
            return self._list(value, known, owner, path)
        if known.shape == "{":
            if type(value) is not dict:
                raise self._wrong(value, known, owner, path, shape="{")
            return self._map(value, known, owner, path)
        return self._one(value, known, owner, path)

    def _list(self, value: list, known: Field, owner: Type, path: str) -> list:
        if known.word == "string" and all(type(item) is str for item in value):
            return value
        for number, item in enumerate(value):
            item = _zero(known) if item is None else item  # noqa: PLW2901  Go's null in a list
            value[number] = self._one(item, known, owner, f"{path}[{number}]")
        return value

    def _map(self, value: dict, known: Field, owner: Type, path: str) -> dict:
        plain = known.word == "string"
        for key, item in value.items():
            if plain and type(item) is str:
                continue
            given = _zero(known) if item is None else item
            value[key] = self._one(given, known, owner, path)
        return value

    def _one(self, value: Any, known: Field, owner: Type, path: str) -> Any:
        if known.is_type:
            if type(value) is not dict:
                raise self._wrong(value, known, owner, path)
            self.structure(value, type_of(known.word), path)
            return value
        word, kind = known.word, type(value)
        if word == "string" and kind is str:
            return value  # by far the most
        if word in ("integer", "intstr"):
            if kind is float and word == "integer" and value.is_integer():
                value, kind = int(value), int
            right = kind is int and scalars.fits(value, wide=known.is_wide)
            right = right or (kind is str and word == "intstr")
        elif word == "quantity" and kind in (int, float):
            value, right = str(value), True
        else:
            right = word == "object" or kind in _PYTHON_TYPES[word]
        if not right:
            raise self._wrong(value, known, owner, path)
        if word == "object" and owner.word == "JSONSchemaProps":
            return self._subschema(value, known, owner, path)
        try:
            return _read(value, word, known.name)
        except scalars.ScalarError as error:
            raise WrongTypeError(str(error), path) from error

    def _subschema(self, value: Any, known: Field, owner: Type, path: str) -> Any:
        """Read what may be a schema, several of them, or a truth value."""
        if known.name not in ("items", "additionalItems", "additionalProperties"):
            return value  # an example, a default, an enum: anything
        if isinstance(value, dict):
            self.structure(value, owner, path)
        elif known.name == "items" and isinstance(value, list):
            for number, item in enumerate(value):
                if not isinstance(item, dict):
                    raise self._wrong(item, known, owner, path)
                self.structure(item, owner, f"{path}[{number}]")
        elif known.name == "items" or not isinstance(value, bool):
            raise WrongTypeError("boolean or JSON schema expected", path)
        return value

    def _wrong(
        self, value: Any, known: Field, owner: Type, path: str, *, shape: str = ""
    ) -> WrongTypeError:
        """Return the error; `shape` when a list or map is missing, not one of its items wrong."""
        plain = "".join(part.partition("[")[0] + "." for part in path.split(".")).rstrip(".")
        said = _json_word(value)
        if said == "number" and known.word in ("integer", "intstr"):
            said = f"number {value}"  # it is the right type, and does not fit
        return WrongTypeError(
            f"json: cannot unmarshal {said} into Go struct field "
            f"{owner.word}.{plain} of type {_go_type(known, shape)}",
            path,
        )


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "time": (str,),
    "bytes": (str,),
    "quantity": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "[string": (list,),
}


def _read(value: Any, word: str, name: str) -> Any:
    """Return the value of a field of the right type; `ScalarError` for what it cannot hold."""
    if word == "time":
        return scalars.time(value, name)
    if word == "quantity":
        return scalars.quantity(value)
    if word == "bytes":
        scalars.check_bytes(value)
    return value


def _zero(known: Field) -> Any:
    """Return what ``null`` means as an item of a list or a map."""
    if known.is_type:
        return {}
    return {"quantity": "0", "bytes": "", "number": 0}.get(known.word, _ZEROS.get(known.word))


def _json_word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _go_type(known: Field, shape: str) -> str:
    if known.is_type:
        word = "v1." + known.word.rpartition(".")[2]
    elif known.word == "integer" and known.is_wide:
        word = "int64"
    else:
        word = {"quantity": "resource.Quantity", "time": "v1.Time", "bytes": "[]uint8"}.get(
            known.word, _GO_TYPES.get(known.word, known.word)
        )
    return {"[": f"[]{word}", "{": f"map[string]{word}"}.get(shape, word)


def decode(obj: Object, schema: Type, *, complete: bool = True) -> list[str]:
    """Clean an object in place by its type; returns the paths of unknown fields, dropped.

    `complete` gives required fields that are missing their zero values.
    """
    decoder = Decoder(schema.word, complete)
    decoder.structure(obj, schema, "")
    return decoder.unknown
