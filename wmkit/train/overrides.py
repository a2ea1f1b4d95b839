"""Frozen dataclass configs as plain JSON values and back, typed `a.b=value` overrides, and the first difference.

Everything is checked against the fields' annotations, so a config read from disk or typed on a command line is as
sound as one written in Python. Supported: int, float, bool, str, Literal, T | None, tuple[T, ...], tuples of fixed
length, and nested dataclasses.
"""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from wmkit.errors import ConfigError

__all__ = ["first_difference", "from_plain", "override", "to_plain"]

Config = TypeVar("Config")


def to_plain(config: object) -> dict[str, Any]:
    """A config as JSON values: dataclasses become objects, tuples lists; one with a `to_dict` says it itself."""
    if hasattr(config, "to_dict"):
        return config.to_dict()  # pyright: ignore[reportAttributeAccessIssue]
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"expected a dataclass instance, got {type(config).__name__}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def from_plain(kind: type[Config], plain: object, where: str = "config") -> Config:
    """A config from JSON values; ConfigError names the key that is unknown, absent or of the wrong type."""
    if not isinstance(plain, Mapping):
        raise ConfigError(f"{where}: expected an object of settings, got {plain!r}")
    hints = get_type_hints(kind)
    if hasattr(kind, "from_dict"):
        simple = {
            key: _checked(hints[key], value, _dotted(where, key))
            for key, value in plain.items()
            if _is_simple(hints.get(key))
        }
        return kind.from_dict({**plain, **simple})  # pyright: ignore[reportAttributeAccessIssue]
    names = [field.name for field in dataclasses.fields(kind)]  # pyright: ignore[reportArgumentType]
    for key in plain:
        if key not in names:
            raise ConfigError(f"{where}: unknown setting {key!r}; {_nearest(str(key), names)}")
    missing = [name for name in names if name not in plain]
    if missing:
        raise ConfigError(
            f"{where}: expected a value for {missing[0]!r}, found none; it was written by another version"
        )
    return kind(**{name: _checked(hints[name], plain[name], _dotted(where, name)) for name in names})


def _dotted(where: str, name: str) -> str:
    """`config.model`; `--set model` after a flag, which ends with its blank."""
    return f"{where}{name}" if where.endswith(" ") else f"{where}.{name}"


def override(config: Config, assignments: Sequence[str]) -> Config:
    """`config` with each `key=value` applied in order; a key is dotted, a value is JSON or a bare word.

    ConfigError for a text without '=', a key that does not exist, and a value of another type.
    """
    plain: dict[str, Any] = to_plain(config)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {assignment!r}: expected key=value, such as optimizer.lr=0.001")
        _assign(plain, config, key.strip(), text.strip())
    return from_plain(type(config), plain, "--set ")


def first_difference(
    stored: Mapping[str, Any], asked: Mapping[str, Any], ignore: frozenset[str] = frozenset()
) -> tuple[str, Any, Any] | None:
    """(dotted key, stored value, asked value) of the first setting that differs, None when none does.

    A key that only one side has differs, with None on the other. `ignore` holds dotted keys.
    """
    left, right = dict(_flat(stored, "")), dict(_flat(asked, ""))
    for key in [*right, *(key for key in left if key not in right)]:
        if key not in ignore and ((key in left) != (key in right) or left[key] != right[key]):
            return key, left.get(key), right.get(key)
    return None


def _is_simple(kind: object) -> bool:
    return kind in (int, float, bool, str) or get_origin(kind) is Literal


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"expected a config of plain values, got {type(value).__name__}")


def _flat(plain: object, prefix: str) -> list[tuple[str, Any]]:
    if not isinstance(plain, Mapping):
        return [(prefix, plain)]
    return [pair for key, value in plain.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else key)]


def _assign(plain: dict[str, Any], config: object, key: str, text: str) -> None:
    """Put the value of one assignment where its key says."""
    kind: object = type(config)
    place: dict[str, Any] = plain
    parts = key.split(".")
    for depth, name in enumerate(parts):
        hints = get_type_hints(kind) if isinstance(kind, type) and dataclasses.is_dataclass(kind) else {}
        if name not in hints:
            where = ".".join(parts[:depth]) or "the config"
            raise ConfigError(f"--set {key}: {where} has no setting {name!r}; {_nearest(name, list(hints))}")
        kind = hints[name]
        if depth + 1 < len(parts):
            place = place[name]
            if place is None:
                where = ".".join(parts[: depth + 1])
                raise ConfigError(f"--set {key}: this config has no {where}; give it whole, as a JSON object")
            kind = next((arm for arm in get_args(kind) if dataclasses.is_dataclass(arm)), kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        names = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(kind))
        raise ConfigError(f"--set {key}: expected one setting, but this is a group: {names}")
    place[parts[-1]] = _parsed(kind, text)


def _parsed(kind: object, text: str) -> object:
    """A value as typed: JSON where it is some, else the bare word; a tuple may be a comma-separated list."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None if text.lower() == "none" else text
    if get_origin(kind) is tuple and not isinstance(value, list):
        return [_parsed(None, part.strip()) for part in text.split(",") if part.strip()]
    if kind is str and not isinstance(value, str):
        return text
    return value


def _checked(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotation `kind` wants it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_plain(kind, value, where)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _checked(next(item for item in arguments if item is not type(None)), value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        return _checked_tuple(arguments, value, where)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(kind, type) and issubclass(kind, str) and isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            raise ConfigError(f"{where}: expected a {kind.__name__}, got {value!r}") from None
    raise ConfigError(f"{where}: expected {getattr(kind, '__name__', kind)}, got {value!r}")


def _checked_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    kinds = [arguments[0]] * len(value) if arguments[-1:] == (...,) else list(arguments)
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: expected {len(kinds)} values, got {len(value)}")
    return tuple(_checked(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names) or 'none'}"
