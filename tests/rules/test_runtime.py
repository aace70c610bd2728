"""Rules for what functions are passed: the part of the runtime that they need, and the time."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import valetkey

SOURCE = Path(valetkey.__file__).parent
# Packages whose functions are passed the time; their views and WSGI adapters read the clock once for each request.
PACKAGES_WITHOUT_CLOCK = ("accounts", "authorization_server", "federation", "openapi", "protocol", "tokens")
ADAPTERS = {"views.py", "fast_path.py"}
CLOCK = re.compile(r"\bclock\(\)|\btime\.time\(\)|\bdatetime\.now\(")


def functions_with_a_runtime() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of modules that are passed a runtime, except commands, which click passes one."""
    for path in sorted(SOURCE.rglob("*.py")):
        for function in ast.parse(path.read_text()).body:
            if isinstance(function, ast.FunctionDef) and not function.decorator_list:
                arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
                if any(argument.arg == "runtime" for argument in arguments):
                    yield f"{path.relative_to(SOURCE)}: {function.name}", function


def find_parts(function: ast.FunctionDef) -> set[str]:
    """Return the attributes of the runtime that a function uses, and ``all`` if it passes the runtime on."""
    parts, names = set(), []
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "runtime":
            parts.add(node.attr)
            names.append(node.value)
    is_passed_on = any(
        isinstance(node, ast.Name) and node.id == "runtime" and node not in names for node in ast.walk(function)
    )
    return parts | {"all"} if is_passed_on else parts


def test_a_function_that_needs_one_part_of_the_runtime_is_passed_that_part() -> None:
    passed_too_much = {
        name: parts
        for name, function in functions_with_a_runtime()
        if len(parts := find_parts(function)) < 2 and "all" not in parts
    }

    assert passed_too_much == {}


def test_the_parts_of_a_function_are_found() -> None:
    def parts_of(body: str) -> set[str]:
        [function] = ast.parse(f"def f(runtime):\n    {body}").body
        assert isinstance(function, ast.FunctionDef)
        return find_parts(function)

    assert parts_of("return runtime.store.fetch_one(x)") == {"store"}
    assert parts_of("return runtime.store, runtime.settings") == {"store", "settings"}
    assert parts_of("return g(runtime, runtime.store)") == {"all", "store"}
    assert parts_of("return 1") == set()
    assert sum(1 for _ in functions_with_a_runtime()) > 50


def test_only_adapters_read_the_clock() -> None:
    reads = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for package in PACKAGES_WITHOUT_CLOCK
        for path in sorted((SOURCE / package).rglob("*.py"))
        if path.name not in ADAPTERS
        for line in path.read_text().splitlines()
        if CLOCK.search(line)
    ]

    assert reads == []
