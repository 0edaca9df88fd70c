"""Strategic merge patch: lists merge by the key that their type names.

Directives: ``$patch`` (``replace``, ``delete``, ``merge``), ``$retainKeys``,
``$setElementOrder/FIELD`` and ``$deleteFromPrimitiveList/FIELD``.
Source: apimachinery ``util/strategicpatch`` and the design note "Strategic Merge Patch".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.schema import type_of

if TYPE_CHECKING:
    from k8slab.embedded.apiserver.list_rules import ListRule
    from k8slab.embedded.apiserver.schema import Field, Type

MOST_MERGED = 2000
"""Items of a patch's list: each is compared with all others, and no list of the API is as long."""

DIRECTIVE, RETAIN = "$patch", "$retainKeys"
ORDER, PRIMITIVES = "$setElementOrder/", "$deleteFromPrimitiveList/"


def strategic_merge(target: Any, patch: dict, schema: Type | None) -> dict:
    """Return `target` (which is consumed) changed by a strategic merge patch."""
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise statuses.bad_request(f"Unknown patch type found: {directive}")
    merged: dict = target if isinstance(target, dict) else {}
    if RETAIN in patch:
        kept = _listed(patch, RETAIN)
        merged = {key: value for key, value in merged.items() if key in kept}
    for key, value in patch.items():
        if key in (DIRECTIVE, RETAIN) or key.startswith(ORDER):
            continue
        if key.startswith(PRIMITIVES):
            name = key.removeprefix(PRIMITIVES)
            gone, held = _listed(patch, key), merged.get(name)
            if isinstance(held, list):
                merged[name] = [item for item in held if item not in gone]
            continue
        field = schema.fields.get(key) if schema else None
        order = _listed(patch, ORDER + key)
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _value(merged.get(key), value, field, order)
    for key in patch:
        name = key.removeprefix(ORDER)
        if key.startswith(ORDER) and name not in patch and isinstance(merged.get(name), list):
            field = schema.fields.get(name) if schema else None
            merge_key = field.rule.merge_key if field and field.rule else ""
            order = _listed(patch, key)
            check_length(order)
            merged[name] = _in_order(merged[name], order, merge_key, merged[name])
    return merged


def check_length(items: list) -> None:
    """Refuse a list that is too long to be merged item by item."""
    if len(items) > MOST_MERGED:
        raise statuses.bad_request(
            f"a list of {len(items)} items cannot be merged, only one of at most {MOST_MERGED}: "
            "replace it by another kind of patch"
        )


def _listed(patch: dict, directive: str) -> list:
    """Return what a directive names; 400 when it is no list."""
    found = patch.get(directive)
    if found is None:
        return []
    if not isinstance(found, list):
        raise statuses.bad_request(f"invalid patch: {directive} must be a list")
    return found


def _value(old: Any, new: Any, field: Field | None, order: list) -> Any:
    if isinstance(new, dict):
        if field and field.rule and field.rule.strategy == "replace":
            return new
        inner = type_of(field.word) if field and field.is_type and not field.shape else None
        return strategic_merge(old, new, inner)
    if not isinstance(new, list):
        return new
    rule = field.rule if field else None
    if rule is None or "merge" not in rule.strategy:
        return [item for item in new if not (isinstance(item, dict) and DIRECTIVE in item)]
    before = old if isinstance(old, list) else []
    check_length(new)
    check_length(order)
    if not rule.merge_key:
        merged = [*before, *(item for item in new if item not in before)]
        return _in_order(merged, order, "", before) if order else merged
    return _merge_list(before, new, field, rule, order)


def _merge_list(before: list, new: list, field: Field | None, rule: ListRule, order: list) -> list:
    inner = type_of(field.word) if field and field.is_type else None
    key = rule.merge_key
    if any(isinstance(item, dict) and item.get(DIRECTIVE) == "replace" for item in new):
        return [item for item in new if not (isinstance(item, dict) and DIRECTIVE in item)]
    merged = list(before)
    for item in new:
        if not isinstance(item, dict) or key not in item:
            raise statuses.bad_request(
                f"map: {item!r} does not contain declared merge key: {key}".replace("'", "")
            )
        places = [
            number
            for number, held in enumerate(merged)
            if isinstance(held, dict) and held.get(key) == item[key]
        ]
        if item.get(DIRECTIVE) == "delete":
            merged = [held for number, held in enumerate(merged) if number not in places]
        elif places:
            # Entries with the same merge key (a port number in two protocols) differ in the
            # remaining map keys: the patch means the one that agrees in all that it names.
            place = next((n for n in places if _agree(merged[n], item, rule.keys)), None)
            if place is None:
                merged.append(strategic_merge({}, item, inner))
            else:
                merged[place] = strategic_merge(merged[place], item, inner)
        else:
            merged.append(strategic_merge({}, item, inner))
    return _in_order(merged, order, key, before) if order else merged


def _agree(held: dict, item: dict, keys: tuple[str, ...]) -> bool:
    """Say whether no key differs; one that is missing or removed (null) agrees with any."""
    pairs = ((held.get(key), item.get(key)) for key in keys)
    return all(mine == theirs or mine is None or theirs is None for mine, theirs in pairs)


def _in_order(merged: list, order: list, key: str, before: list) -> list:
    """Sort by the wanted order; items that it does not name keep their place among the others."""

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in order]
    ranks = {str(value): number for number, value in enumerate(wanted)}
    named = sorted(
        (item for item in merged if str(name(item)) in ranks), key=lambda i: ranks[str(name(i))]
    )
    others = [item for item in merged if str(name(item)) not in ranks]
    old_places = {str(name(item)): number for number, item in enumerate(before)}
    result = list(named)
    for item in others:
        place = old_places.get(str(name(item)), len(result))
        spot = next(
            (
                number
                for number, held in enumerate(result)
                if old_places.get(str(name(held)), -1) > place
            ),
            len(result),
        )
        result.insert(spot, item)
    return result
