"""Names that are shown to users, of clients, personal access tokens and accounts: their check and normal form."""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 100
# Letters and symbols of Unicode that show nothing: they would let a name be empty, or look like another one.
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u034f\u180b\u180c\u180d")
# What a text in several lines, or in a script that joins letters or runs from right to left, may contain.
_ALLOWED_IN_TEXT = frozenset("\n\r\t\u200c\u200d\u200e\u200f\u00ad\ufe0e\ufe0f")
# Scripts with letters that look alike, by the first word of the names of their letters. A word has letters of one.
_LOOKALIKE_SCRIPTS = frozenset({"ARMENIAN", "CHEROKEE", "COPTIC", "CYRILLIC", "GREEK", "LATIN"})
_WORD = re.compile(r"[^\W\d_]+")


def normalize_display_name(name: str) -> str:
    """Return the normal form of a name, in which it is stored: the same for every system on which it is typed.

    Letters with accents are one character each (Unicode form NFC). Spaces of all kinds become one space, and there are
    none around the name.
    """
    return " ".join(unicodedata.normalize("NFC", name).split())


def display_name_problem(name: str) -> str | None:
    """Return what is wrong with a name, as the end of a sentence that begins with "the name"; ``None`` if it is valid.

    A name has 1 to 100 characters, all of them visible or a space, and is not blank. Line breaks and characters that
    change the direction of writing are not allowed. No word mixes letters of scripts that look alike.
    """
    if not name.strip():
        return "is empty: 1 to 100 characters are needed"
    if len(name) > MAX_LENGTH:
        return f"has {len(name)} characters: at most {MAX_LENGTH} are allowed"
    for character in name:
        is_space = unicodedata.category(character) == "Zs"
        if not (is_space or character.isprintable()) or character in _INVISIBLE:
            return _invisible_problem(character)
    if match := re.search("[^\\W\\d_][\ufe0e\ufe0f]", name):  # after a symbol, they choose between text and emoji
        return _invisible_problem(match[0][1])
    letters = "".join(char for char in unicodedata.normalize("NFD", name) if unicodedata.category(char) != "Mn")
    for word in _WORD.findall(letters):
        scripts = sorted({_script_of(letter) for letter in word} & _LOOKALIKE_SCRIPTS)
        if len(scripts) > 1:
            mixed = " and ".join(script.capitalize() for script in scripts)
            return f"mixes {mixed} letters, which look alike, in the word {word}: write each word in one alphabet"
    return None


def invisible_character_problem(text: str) -> str | None:
    """Return what is wrong with a text for users that may have several lines, or ``None`` if it is valid.

    Characters that are invisible or override the direction of writing are not allowed. Those that join letters, or mark
    the direction of the text beside them, are.
    """
    for character in text:
        if character in _ALLOWED_IN_TEXT or unicodedata.category(character) == "Zs":
            continue
        if not character.isprintable() or character in _INVISIBLE:
            return _invisible_problem(character)
    return None


def describe_character(character: str) -> str:
    """Return the code point and the name of a character, such as ``U+00FC (LATIN SMALL LETTER U WITH DIAERESIS)``."""
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'a control character')})"


def _invisible_problem(character: str) -> str:
    return f"contains {describe_character(character)}, which is invisible or changes the text around it: remove it"


def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
