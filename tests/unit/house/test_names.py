"""Every module says what it exports, and everything it exports says what it is."""

import ast
from pathlib import Path

import pytest

from tests.unit.house.source_tree import package_files, short, tree_of

MODULES = [path for path in package_files() if path.read_text(encoding="utf-8").strip()]


def exported(tree: ast.Module) -> list[str] | None:
    """The literal `__all__`, None where there is none."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                return ast.literal_eval(node.value)
    return None


def definitions(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes that stand directly in `body`."""
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def bound_names(tree: ast.Module) -> set[str]:
    """Names that the module's own top level defines or imports."""
    names = {node.name for node in definitions(tree.body)}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        else:
            stored = (item for item in ast.walk(node) if isinstance(item, ast.Name))
            names |= {item.id for item in stored if isinstance(item.ctx, ast.Store)}
    return names


def isort_style(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by name: the order the linter writes."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_exported_names_are_true_and_sorted(path: Path) -> None:
    tree = tree_of(path)
    names = exported(tree)
    assert names is not None, "every module has __all__"
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=isort_style)
    assert not set(names) - bound_names(tree), "exported but not there"


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_public_definitions_are_exported(path: Path) -> None:
    tree = tree_of(path)
    public = {node.name for node in definitions(tree.body) if not node.name.startswith("_")}
    missing = public - set(exported(tree) or ()) - cli_verbs(path, tree)
    assert not missing, "public by its name but not in __all__: export it, or start it with _"


def cli_verbs(path: Path, tree: ast.Module) -> set[str]:
    """Verbs are reached through the command line, whose surface another test freezes."""
    if not short(path).startswith("wmkit/cli/"):
        return set()
    return {node.name for node in definitions(tree.body) if node.decorator_list}


def undocumented(tree: ast.Module) -> list[str]:
    """Public modules, classes, functions and methods without a docstring; protocols' stub methods included."""
    missing = [] if ast.get_docstring(tree) else ["(module)"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in definitions(body):
            if node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not is_overload_or_setter(node):
                missing.append(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


def is_overload_or_setter(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """These repeat a definition that carries the docstring."""
    return any(ast.unparse(item).endswith((".setter", "overload")) for item in node.decorator_list)


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_public_things_are_documented(path: Path) -> None:
    assert not undocumented(tree_of(path))
