"""Import rule of the tests: what several test files need is in tests/support/, not in another test file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def imported_modules(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute name of each imported module, and of each name imported from a package.

    :param package: the package of the importing file, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -node.level + 1 or None] if node.level else []
            module = ".".join([*parents, *(node.module or "").split(".")]).rstrip(".")
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_test_file(module: str) -> bool:
    """Return whether a module is a ``test_*`` module below tests/ or a conftest."""
    package, _, name = module.rpartition(".")
    return package.split(".")[0] == "tests" and (name.startswith("test_") or name == "conftest")


def imports_of_test_files(source: str, package: str) -> list[tuple[int, str]]:
    return [(line, module) for line, module in imported_modules(ast.parse(source), package) if is_test_file(module)]


def test_no_file_imports_from_a_test_module_or_a_conftest() -> None:
    found = {
        str(path.relative_to(TESTS)): imports
        for path in sorted(TESTS.rglob("*.py"))
        if "node_modules" not in path.parts
        and (imports := imports_of_test_files(path.read_text(), ".".join(path.relative_to(TESTS.parent).parent.parts)))
    }

    assert found == {}, "move the helper to tests/support/"


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.conftest import app",
        "from tests.pages.conftest import site",
        "from tests.races.test_codes import service",
        "from tests.races import test_codes",
        "import tests.races.test_codes",
        "from .test_codes import service",
        "from . import conftest",
        "from ..conftest import app",
        "def function():\n    from tests.conftest import app",
    ],
)
def test_an_import_from_a_test_file_is_found(statement: str) -> None:
    assert imports_of_test_files(statement, "tests.races")


@pytest.mark.parametrize(
    "statement",
    [
        "from tests.support.user import User",
        "from .service import Service",
        "from valetkey import testing",
        "import ast",
    ],
)
def test_other_imports_are_allowed(statement: str) -> None:
    assert not imports_of_test_files(statement, "tests.races")
