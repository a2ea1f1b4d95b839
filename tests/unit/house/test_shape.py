"""Size and shape of the source: short files, short functions, few parameters, no swallowed arguments."""

import ast
from pathlib import Path

import pytest

from tests.unit.house.source_tree import functions, package_files, python_files, short, tree_of

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8


@pytest.mark.parametrize("path", python_files(), ids=short)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_functions_are_short(path: Path) -> None:
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(tree_of(path))
        if node.end_lineno is not None and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert not long


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_functions_take_few_parameters(path: Path) -> None:
    many = {}
    for node in functions(tree_of(path)):
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > MAX_PARAMETERS and not is_verb(node) and not is_kernel(node):
            many[node.name] = count
    assert not many, "make it a config dataclass"


def is_verb(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A command-line verb: its parameters are its flags, so they are as many as those."""
    return any(".command(" in ast.unparse(item) for item in node.decorator_list)


def is_kernel(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A GPU kernel: it takes pointers, sizes and strides one by one."""
    return any(ast.unparse(item) == "triton.jit" for item in node.decorator_list)


@pytest.mark.parametrize("path", package_files(), ids=short)
def test_no_signature_swallows_keywords(path: Path) -> None:
    assert not [node.name for node in functions(tree_of(path)) if node.args.kwarg is not None]
