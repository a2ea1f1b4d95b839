"""The command line: its frozen surface, its exit codes and its one-line errors.

After a wanted change: `python tests/unit/test_cli.py >tests/unit/cli_surface.json`, and a line in the CHANGELOG.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer.main

from wmkit import __version__, cli
from wmkit.errors import ClipError, ConfigError, CorruptShardError, InputError

SURFACE = Path(__file__).with_name("cli_surface.json")


def surface(command: Any, name: str = "wmkit") -> dict[str, dict[str, dict[str, object]]]:
    """Verb -> parameter -> its flags, type, default and whether it must be given; help texts are free to change."""
    table = {name: {parameter.name: described(parameter) for parameter in command.params}}
    for child_name, child in getattr(command, "commands", {}).items():
        table |= surface(child, f"{name} {child_name}")
    return table


def described(parameter: Any) -> dict[str, object]:
    default = parameter.default
    return {
        "flags": [flag for flag in (*parameter.opts, *parameter.secondary_opts) if flag.startswith("-")],
        "type": type_word(parameter.type_descriptor.annotation),
        "default": default if isinstance(default, int | float | None) else str(default),
        "required": parameter.required,
    }


def type_word(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def test_surface_is_the_frozen_one() -> None:
    assert surface(typer.main.get_command(cli.app)) == json.loads(SURFACE.read_text())


if __name__ == "__main__":
    print(json.dumps(surface(typer.main.get_command(cli.app)), indent=2))
