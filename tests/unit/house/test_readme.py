"""The README's tree is the real one, its table of flags too, and its pictures exist."""

import json
import re

from tests.unit.house.source_tree import PACKAGE, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LINE = re.compile(r"^(?P<indent> *)(?P<name>[\w.-]+/?) +(?P<clause>\S.*)$")


def tree_in_readme() -> dict[str, str]:
    """Path below wmkit/ -> its clause; folders end with a slash."""
    match = re.search(r"```\nwmkit/(.*?)\n((?:  .*\n)+)```", README)
    assert match is not None, "README.md has a tree that begins with wmkit/"
    found: dict[str, str] = {}
    folders: list[str] = []
    for line in match[2].splitlines():
        entry = LINE.match(line)
        assert entry is not None, f"expected `name  clause`, got {line!r}"
        depth = len(entry["indent"]) // 2 - 1
        path = "".join(folders[:depth]) + entry["name"]
        if path.endswith("/"):
            folders[depth:] = [entry["name"]]
        found[path] = entry["clause"]
    return found


def real_tree() -> set[str]:
    """Every file below wmkit/ and every folder that holds one."""
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    # An __init__ is told by its folder's line, unless it is the package's own.
    told = {path for path in files if path.name != "__init__.py" or path.parent == PACKAGE}
    folders = {parent for path in files for parent in path.parents if parent.is_relative_to(PACKAGE)} - {PACKAGE}
    names = {path.relative_to(PACKAGE).as_posix() for path in told}
    return names | {folder.relative_to(PACKAGE).as_posix() + "/" for folder in folders}


def test_tree_lists_every_file_and_no_other() -> None:
    listed = set(tree_in_readme())
    assert listed - real_tree() == set(), "in the README but not in wmkit/"
    assert real_tree() - listed == set(), "in wmkit/ but not in the README: add it with one clause"


def test_flags_of_annotate_are_the_real_ones() -> None:
    surface = json.loads((ROOT / "tests/unit/cli_surface.json").read_text(encoding="utf-8"))["wmkit annotate"]
    real = {flag for parameter in surface.values() for flag in parameter["flags"]} - {"--json"}
    table = README[README.index("| flag | default | |") : README.index("Without a scale cue")]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == real


def test_pictures_exist() -> None:
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file(), name


def test_every_verb_has_its_words() -> None:
    surface = json.loads((ROOT / "tests/unit/cli_surface.json").read_text(encoding="utf-8"))
    verbs = {name.removeprefix("wmkit ") for name, flags in surface.items() if flags and name != "wmkit"}
    assert {verb for verb in verbs if f"wmkit {verb}" not in README and f"make {verb}" not in README} == set()


def test_no_slot_is_left_open() -> None:
    assert not re.findall(r"<!--.*?-->", README), "put real output there"
