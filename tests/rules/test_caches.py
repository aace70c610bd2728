"""docs/structure.md lists every cache, counter and buffer that a process keeps in memory between requests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import valetkey

SOURCE = Path(valetkey.__file__).parent
PAGE = SOURCE.parents[1] / "docs" / "structure.md"
CACHE_CLASSES = {"FeedCache", "TwoGenerationCache", "AccessTokenCache", "RecentlyIssued", "CachePool"}
CONTAINERS = {"dict", "set", "OrderedDict", "Counter", "defaultdict", "deque"}
CACHE_DECORATORS = {"cache", "lru_cache"}
# They store nothing themselves: their instances, in other files, are in the list.
GENERIC_CACHES = {"caches/feed_cache.py", "caches/two_generation.py", "caches/recently_issued.py"}
# Objects that are made for one OpenAPI document or one comparison.
SHORT_LIVED = ("openapi/",)
# Filled when the app starts, and not by requests.
NO_CACHES = {("runtime.py", "job_handlers"), ("settings/sources.py", "_fallbacks")}


def name_of_call(node: ast.expr | None) -> str:
    """Return the name of the function or class that an expression calls, without its module and type arguments."""
    function = node.func if isinstance(node, ast.Call) else node
    while isinstance(function, ast.Subscript | ast.Call):
        function = function.value if isinstance(function, ast.Subscript) else function.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def is_store(value: ast.expr | None) -> bool:
    """Return whether an expression makes a cache or an empty container."""
    if isinstance(value, ast.Dict):
        return not value.keys
    return isinstance(value, ast.Call) and (
        name_of_call(value) in CACHE_CLASSES or (name_of_call(value) in CONTAINERS and not value.args)
    )


def list_caches(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the attributes, functions and module variables of a file that store values."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for statement in ast.walk(node):
                is_definition = isinstance(statement, ast.AnnAssign) or node.name == "__init__"
                if is_definition and isinstance(statement, ast.Assign | ast.AnnAssign) and is_store(statement.value):
                    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
                    if isinstance(target, ast.Attribute):
                        yield target.attr
            if any(name_of_call(decorator) in CACHE_DECORATORS for decorator in node.decorator_list):
                yield node.name
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and (
            is_store(statement.value) or name_of_call(statement.value) in CACHE_DECORATORS
        ):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name):
                yield target.id


def caches_in_code() -> set[tuple[str, str]]:
    files = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    return {
        (file, name)
        for file, path in files.items()
        if file not in GENERIC_CACHES and not file.startswith(SHORT_LIVED)
        for name in list_caches(ast.parse(path.read_text()))
    } - NO_CACHES


def listed_caches() -> dict[tuple[str, str], str]:
    """Return the row of each cache in the section "Caches", by file and name."""
    section = PAGE.read_text().partition("\n## Caches\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*?`([\w/]+\.py)` ((?:`\w+`(?:, )?)+) \|(.*)$", section, re.MULTILINE)
    return {(file, name): row for file, names, row in rows for name in re.findall(r"`(\w+)`", names)}


def test_every_cache_in_the_code_is_listed_and_every_listed_cache_exists() -> None:
    assert caches_in_code() == set(listed_caches())


def test_every_row_says_how_long_how_large_and_what_invalidates() -> None:
    assert [key for key, row in listed_caches().items() if any(not cell.strip() for cell in row.split("|")[:-1])] == []


def test_only_the_feed_cache_and_the_token_verifier_listen_to_the_change_feed() -> None:
    """A cache with a listener of its own would have a second copy of the guard against races."""
    listeners = {
        path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if ".add_listener(" in path.read_text()
    }

    assert listeners == {"caches/feed_cache.py", "tokens/verifier.py"}
