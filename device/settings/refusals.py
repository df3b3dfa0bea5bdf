"""What a configuration may not hold, in words: the key, what stands there, what is allowed."""

import math
import re
from typing import Any, TypeVar

import msgspec

from device.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)


def converted(tables: dict[str, Any], root: type[T], source: str) -> T:
    """Turn TOML's tables into `root`, strictly: no unknown key, no conversion of types, every number in range.

    Raises ConfigError: one line with source, key and what is allowed.
    """
    _refuse_not_finite(tables, source, "")
    try:
        return msgspec.convert(tables, root, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ConfigError(f"{source}: {_explained(str(error), tables, root)}") from error


def _refuse_not_finite(value: Any, source: str, key: str) -> None:
    # TOML knows nan and inf, and nan passes every range.
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_not_finite(inner, source, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for inner in value:
            _refuse_not_finite(inner, source, key)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{source}: {one_line(key)}: {value} is not allowed; give a finite number")


def _explained(message: str, tables: dict[str, Any], root: type) -> str:
    """Turn msgspec's message into: key, what stands there, what is allowed."""
    match = re.search(r" - at `\$\.?([^`]*)`$", message)
    key = match.group(1) if match else ""
    what = message[: match.start()] if match else message
    item = re.search(r"\[(\d+)\]$", key)
    names = key[: item.start() if item else None].split(".") if key else []
    kind: Any = root
    given: Any = tables
    for name in names:
        kind = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}[name]
        given = given[name]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, re.DOTALL)
        if unknown:
            name = ".".join([*names, one_line(unknown.group(1))])
            return f"{name}: no such key; known {'in [' + key + ']' if key else 'here'}: {known}"
        return f"{key}: must be a table [{key}] with keys of: {known}"
    shown = one_line(repr(given[int(item.group(1))] if item else given))
    return f"{key}: {shown} is not allowed; allowed: {allowed(kind)}"


def allowed(kind: Any) -> str:
    """Say in words what a key's type lets through, e.g. 'a whole number from 20 to 500'."""
    info = msgspec.inspect.type_info(kind)
    if isinstance(info, msgspec.inspect.Metadata):
        return str((info.extra_json_schema or {})["description"])
    if isinstance(info, msgspec.inspect.BoolType):
        return "true or false"
    if isinstance(info, msgspec.inspect.LiteralType):
        return "one of " + ", ".join(f'"{value}"' for value in info.values)
    if isinstance(info, msgspec.inspect.ListType):
        return str((getattr(info.item_type, "extra_json_schema", None) or {}).get("description", "a list"))
    if isinstance(info, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        what = "a whole number" if isinstance(info, msgspec.inspect.IntType) else "a number"
        return f"{what} from {info.ge:g} to {info.le:g}"
    return "text"


def one_line(text: str) -> str:
    """Return what a stranger wrote as something that can stand in one line of a message: bounded, printable."""
    shown = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return shown if len(shown) <= 80 else shown[:77] + "..."
