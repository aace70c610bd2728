"""Names are the field's words: no banned word in an identifier, no public class name that means two things."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import valetkey

SOURCE = Path(valetkey.__file__).parent

# Words that say nothing to a reader who has not seen the code; docs/glossary.md has the ones to use.
BANNED = frozenset(
    word
    for line in (
        "told asked given kept held heed heeds heeded wish wishes wished made known unasked waiting house world",
        "visit visits visitor mint mints minted minting judge judges judged verdict verdicts young",
        "whom whose whoever nobody somebody anybody everybody living dead",
    )
    for word in line.split()
)
# Identifiers that are the terms of a specification, of a library or of a stored column.
ALLOWED = {
    "known_scopes": "public property of Settings",
    "given_name": "OpenID Connect Core §5.1",
    "mint_token": "published by valetkey.testing",
}


def words_of(identifier: str) -> list[str]:
    """Split an identifier at underscores and capitals."""
    return [word.lower() for word in re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", identifier).split("_") if word]


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a module defines, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, node.lineno
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name, node.lineno


def has_banned_word(identifier: str) -> bool:
    stripped = identifier.strip("_").lower()
    if any(term == stripped or f"_{term}_" in f"_{stripped}_" for term in ALLOWED):
        return False
    return not BANNED.isdisjoint(words_of(identifier))


def parsed_files() -> dict[str, ast.Module]:
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}


def test_no_identifier_contains_a_banned_word() -> None:
    found = [
        f"{path}:{line} {identifier}"
        for path, tree in parsed_files().items()
        for identifier, line in identifiers(tree)
        if has_banned_word(identifier)
    ]

    assert found == []


@pytest.mark.parametrize("identifier", ["told_claims", "_is_known_owner", "KnownOwners", "MadeUp", "_HELD"])
def test_a_banned_word_is_found_at_any_place(identifier: str) -> None:
    assert has_banned_word(identifier)


@pytest.mark.parametrize("identifier", ["known_scopes", "mint_token", "household"])
def test_terms_of_the_field_are_allowed(identifier: str) -> None:
    assert not has_banned_word(identifier)


def test_every_allowed_term_is_used() -> None:
    used = {identifier.strip("_").lower() for tree in parsed_files().values() for identifier, _ in identifiers(tree)}
    used |= {"given_name" for name in used if "given_name" in name}

    assert ALLOWED.keys() - used - {"given_name"} == set()


def test_a_class_name_has_one_meaning() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path, tree in parsed_files().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
