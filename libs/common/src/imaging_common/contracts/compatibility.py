"""Decides whether a changed event still lets old and new services run together, reading each other's messages."""

from typing import Any

_NOTES = frozenset({"title", "description", "default", "examples", "$id", "$schema"})


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What makes `new` (a JSON Schema) break readers or writers of `old`; empty: both run together.

    A field may be added if it may be absent. Everything else breaks somebody: a field removed or no longer always
    there (old readers), a field that must be there now (old messages), another type, set of values or bound (either).
    """
    return _compare(old, new, old.get("$defs", {}), new.get("$defs", {}), "")


def _compare(
    old: dict[str, Any], new: dict[str, Any], old_defs: dict[str, Any], new_defs: dict[str, Any], at: str
) -> list[str]:
    old, new = _resolve(old, old_defs), _resolve(new, new_defs)
    where = at or "(event)"
    if not _plain(old) or not _plain(new):
        return _compare_other(old, new, old_defs, new_defs, where)
    found: list[str] = []
    before, after = old.get("properties", {}), new.get("properties", {})
    must_before, must_after = set(old.get("required", [])), set(new.get("required", []))
    for name in before:
        inner = f"{at}.{name}" if at else name
        if name not in after:
            found.append(f"{inner}: removed")
            continue
        if name in must_before and name not in must_after:
            found.append(f"{inner}: may be absent now")
        if name not in must_before and name in must_after:
            found.append(f"{inner}: must be there now")
        found += _compare(before[name], after[name], old_defs, new_defs, inner)
    found += [f"{at}.{n}".lstrip(".") + ": added and required" for n in after if n not in before and n in must_after]
    return found


def _compare_other(
    old: dict[str, Any], new: dict[str, Any], old_defs: dict[str, Any], new_defs: dict[str, Any], where: str
) -> list[str]:
    found: list[str] = []
    for word in sorted((set(old) | set(new)) - _NOTES - {"$defs"}):
        before, after = old.get(word), new.get(word)
        if word == "items" and isinstance(before, dict) and isinstance(after, dict):
            found += _compare(before, after, old_defs, new_defs, f"{where}[]")
        elif word in ("anyOf", "oneOf", "allOf") and _same_length(before, after):
            for one, other in zip(before or [], after or [], strict=True):
                found += _compare(one, other, old_defs, new_defs, where)
        elif word == "enum" and before is not None and after is not None:
            if sorted(map(str, before)) != sorted(map(str, after)):
                found.append(f"{where}: other values")
        elif before != after:
            found.append(f"{where}: {word} changed")
    return found


def _plain(schema: dict[str, Any]) -> bool:
    return schema.get("type") == "object" and "properties" in schema


def _same_length(before: Any, after: Any) -> bool:
    return isinstance(before, list) and isinstance(after, list) and len(before) == len(after)


def _resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        resolved: dict[str, Any] = definitions[reference.rsplit("/", 1)[1]]
        return resolved
    return schema
