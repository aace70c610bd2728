"""Hash, verify and validate passwords: argon2id, one hash at a time in each process."""

from __future__ import annotations

import os
import re
import threading
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from . import texts

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_PASSWORD_LENGTH, MAX_PASSWORD_LENGTH = 10, 200

# What attackers try first: these words with anything but letters around them, keyboard sequences, a text repeated.
_COMMON_PASSWORDS = re.compile(
    r"p[a@4][s$5]{2}w[o0]r[dt]|qwert[yz]|azerty|iloveyou|letmein|welcome|admin(istrator)?|changeme|secret|login|football"
    r"|baseball|princess|monkey|dragon|sunshine|superman|batman|michael|charlie|jordan|shadow|master|hello|computer"
    r"|internet|liverpool|chelsea|starwars|whatever|trustno|abcd?|test|user|guest|default|summer|winter|spring|autumn"
)
_CHARACTER_SEQUENCES = (
    *("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "qwertzuiopasdfghjkl"),
    *("1qaz2wsx3edc4rfv5tgb6yhn", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0"),
)

# A hash takes 23 ms of a core and 7 MiB. One at a time keeps the API responsive while users sign in.
_hash_lock = threading.Lock()


def _renew_hash_lock() -> None:
    global _hash_lock
    _hash_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_hash_lock)


def password_problem(password: str, *, email: str = "", name: str = "") -> str | None:
    """Return why a new password is not accepted, as a sentence for the user, or ``None`` if it is accepted.

    The rules are those of NIST SP 800-63B §5.1.1.

    :param email: e-mail address of the account; it is not accepted as the password.
    :param name: the user's name; it is not accepted as the password.
    """
    if len(password) < MIN_PASSWORD_LENGTH:
        return texts.PASSWORD_TOO_SHORT.format(length=MIN_PASSWORD_LENGTH)
    if len(password) > MAX_PASSWORD_LENGTH:
        return texts.PASSWORD_TOO_LONG.format(length=MAX_PASSWORD_LENGTH)
    if len(set(password)) < 4:
        return texts.PASSWORD_TOO_UNIFORM
    folded_password = password.casefold()
    if folded_password in {email.casefold(), name.casefold()} or (
        email and folded_password.startswith(email.partition("@")[0].casefold() + "@")
    ):
        return texts.PASSWORD_IS_NAME
    if _is_common_password(folded_password):
        return texts.PASSWORD_COMMON
    return None


def _is_common_password(folded_password: str) -> bool:
    word = folded_password.strip("0123456789 !?.,:;-_*#+=$@&%")
    is_sequence = any(
        folded_password in sequence or folded_password in sequence[::-1] for sequence in _CHARACTER_SEQUENCES
    )
    return (
        bool(_COMMON_PASSWORDS.fullmatch(word))
        or is_sequence
        or folded_password in (folded_password + folded_password)[1:-1]
    )


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, as a text that includes the salt and the cost parameters.

    The password is prepared first, so that it can be typed on any system (RFC 8265 §4.2).
    """
    with _hash_lock:
        return _hasher().hash(prepare_password(password))


def prepare_password(password: str) -> str:
    """Return a password in the one form in which it is compared (RFC 8265 §4.2, OpaqueString).

    Systems send the same letters as different code points, such as "é" as one or as two, and other spaces.
    """
    spaces = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaces)


def verify_password(password: str, password_hash: str | None) -> bool:
    """Return whether the password matches the hash.

    :param password_hash: what ``hash_password`` returned; ``None`` if there is no account or it has no password. The
        result is then ``False``, after the same time, so that the time does not reveal whether there is an account.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MAX_PASSWORD_LENGTH:
        return False
    # Hashes of earlier versions are of the password as it was typed.
    typed = dict.fromkeys((prepare_password(password), password))
    with _hash_lock:
        for candidate in typed:
            try:
                if _hasher().verify(password_hash or _dummy_hash(), candidate):
                    return password_hash is not None
            except (VerificationError, InvalidHashError):
                continue
    return False


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=5, memory_cost=7 * 1024, parallelism=1)  # decision 84


@cache
def _dummy_hash() -> str:
    return _hasher().hash("the password of no account")
