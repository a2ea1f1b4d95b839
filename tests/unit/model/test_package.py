"""The model runs on a machine that has torch, numpy, safetensors and jaxtyping alone.

VAEs and text encoders of other libraries are imported inside the function that makes them.
"""

import ast
import subprocess
import sys

from tests.unit.house.source_tree import PACKAGE, ROOT, package_files, tree_of

ALLOWED = {"torch", "numpy", "safetensors", "jaxtyping"}
LAZY = {"diffusers", "transformers", "transformer_engine", "triton"}
# A file of kernels has its compiler at the top, and is itself imported by the function that launches them.
KERNELS = {"triton_kernels.py": {"triton"}}
ALLOWED_OF_OURS = ("wmkit.atomic", "wmkit.errors", "wmkit.json_object", "wmkit.camera", "wmkit.model")


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return []


def in_functions(tree: ast.AST) -> set[int]:
    """Identities of the import statements that run when a function does, not when the module does."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {id(inner) for node in functions for inner in ast.walk(node) if imported(inner)}


def test_model_imports_torch_numpy_safetensors_jaxtyping_and_four_of_our_modules() -> None:
    files = [path for path in package_files() if path.is_relative_to(PACKAGE / "model")]
    assert len(files) > 10
    for path in files:
        lazy = in_functions(tree_of(path))
        for node in ast.walk(tree_of(path)):
            for name in imported(node):
                top = name.partition(".")[0]
                if top == "wmkit":
                    assert name.startswith(ALLOWED_OF_OURS), f"{path.name} imports {name}"
                else:
                    known = ALLOWED | sys.stdlib_module_names | KERNELS.get(path.name, set())
                    known |= LAZY if id(node) in lazy else set()
                    assert top in known, f"{path.name} imports {name}"


def test_importing_the_model_loads_no_kernels() -> None:
    code = "import sys, wmkit.model\nprint(*[name for name in sys.modules if name.endswith('triton_kernels')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
