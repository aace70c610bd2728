"""Documentation, pages, mail, messages and test names are plain words: no phrase that a newcomer has to read twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import valetkey

PROJECT_DIR = Path(__file__).parents[2]
SOURCE = Path(valetkey.__file__).parent

# Each phrase, and what to write instead. Matched as whole words, in any case.
UNWANTED = {
    r"nobody shall": "to prevent",
    r"(?:whoever|whosoever|anybody|everybody)": "anyone who, the operator, all users",
    r"(?:put|puts) out|(?:lets|let) (?:it|them|him|her) (?:back )?in": "disable, enable, approve",
    r"unasked|a person|persons|her|herself|himself|she": "a user",
    r"who is there|is there already|be(?:come)? known": "exists",
    r"(?:what|that|which|link) is over": "has expired, was used",
    r"no(?:body|thing) (?:knows|tells|says)": "unknown, not declared",
    r"was told|are told|is told|be told|unless told|tells of": "is notified, is reported, describes",
    r"is asked for|be asked for|was asked for|asked of": "is requested",
    r"go(?:es)? on": "continue",
    r"take(?:s|n)? back": "revoke",
    r"lives? (?:on|to its end)|dies|dead(?! code)": "stays valid, expires, is invalid",
    r"for ever|once and for all": "permanently",
    r"does not answer|takes no mail|not served here": "does not respond, is not supported",
    r"is good (?:for|at|once)|are good (?:at|here|again)|is worth nothing": "is valid, is invalid",
    r"a hole|puts? on another|another's face": "a vulnerability, impersonate",
    r"letter by letter|says nothing": "exactly; describe the action",
    r"the world|the house|by itself|of one's own": "production; automatically; alone",
    r"give away|given up again|whereupon|thereof|wherever|whence": "plain words",
}  # fmt: skip
PATTERN = re.compile("|".join(rf"\b(?:{phrase})\b" for phrase in UNWANTED), re.IGNORECASE)

# Phrases that are right in their place, by file: the text around them.
ALLOWED = {
    "docs/own_users.md": ["given to somebody else"],
}
# Conformance suites look for this title of a page.
ALLOWED_MESSAGES = ["This request cannot go on"]

PAGES = sorted(
    [
        *PROJECT_DIR.glob("*.md"),
        *(path for path in (PROJECT_DIR / "docs").glob("*.md") if path.name != "conformance.md"),
        *(PROJECT_DIR / "decisions").glob("*.md"),
        *(PROJECT_DIR / "examples").glob("*/README.md"),
        *SOURCE.rglob("*.html"),
    ]
)


def find_unwanted(text: str, allowed: list[str]) -> list[str]:
    """Return the unwanted phrases of a text, each with its line number; code blocks are left out."""
    text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    for phrase in allowed:
        text = text.replace(phrase, "")
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {match[0]!r} in {line.strip()}" for number, line in lines for match in PATTERN.finditer(line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_DIR)))
def test_pages_use_plain_words(page: Path) -> None:
    allowed = ALLOWED.get(str(page.relative_to(PROJECT_DIR)), [])

    assert find_unwanted(page.read_text(), allowed) == []


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each string of at least three words, except docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, Documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        if is_text and len(node.value.split()) >= 3:
            yield node.lineno, node.value


def test_messages_use_plain_words() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line} {unwanted}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in messages(ast.parse(path.read_text()))
        for unwanted in find_unwanted(text, ALLOWED_MESSAGES)
    ]

    assert found == []


def test_docstrings_use_plain_words() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{node.body[0].lineno} {unwanted}"
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, Documented)
        for unwanted in find_unwanted(ast.get_docstring(node) or "", [])
    ]

    assert found == []


def test_names_of_tests_use_plain_words() -> None:
    found = [
        f"{path.relative_to(PROJECT_DIR)}:{node.lineno} {unwanted}"
        for path in sorted((PROJECT_DIR / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for unwanted in find_unwanted(node.name.replace("_", " "), [])
    ]

    assert found == []


@pytest.mark.parametrize(
    "sentence", ["Put a person out", "This link is over", "for nobody shall put on another's face"]
)
def test_an_unwanted_phrase_is_found(sentence: str) -> None:
    assert find_unwanted(sentence, []) != []


# Files of page packages in which sentences may stand; see web/texts.py. Templates have all others.
TEXT_FILES = {"texts.py", "forms.py"}
PAGE_PACKAGES = ("web", "resource_owner", "accounts")
SENTENCE = re.compile(r"[A-Z{][^\n]* [^\n]* [^\n]*[.?!]\s*")


def test_sentences_of_pages_are_in_one_file_for_each_package() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line} {text}"
        for package in PAGE_PACKAGES
        for path in sorted((SOURCE / package).rglob("*.py"))
        if path.name not in TEXT_FILES
        for line, text in messages(ast.parse(path.read_text()))
        if SENTENCE.fullmatch(text)
    ]

    assert found == []
