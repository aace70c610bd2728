"""Encryption at rest: AES-256-GCM under ``encryption_keys``, each ciphertext bound to its row."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from valetkey.settings import Settings
from valetkey.storage.engine.transaction import StoreUnavailable

_KEY_ID_BYTES, _NONCE_BYTES = 8, 12


def generate_encryption_key() -> str:
    """A value for ``encryption_keys``: base64 of 32 random bytes."""
    return base64.b64encode(os.urandom(32)).decode("ascii")


def write_key_file(path: Path) -> None:
    """Make a file with a new key, readable for its owner only, where there is none: whole or not at all.

    :raises OSError: where the folder cannot be written.
    """
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(generate_encryption_key() + "\n")
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)  # the first process wins
    draft.unlink()


class Cipher:
    """Encrypts under the first key and decrypts under any; the keys are read at first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: dict[bytes, bytes] = {}

    def encrypt(self, plaintext: bytes, row_id: str) -> bytes:
        """Ciphertext that opens only together with the same ``row`` (table and primary key)."""
        key_id, key = next(iter(self._load_keys().items()))
        nonce = os.urandom(_NONCE_BYTES)
        return key_id + nonce + AESGCM(key).encrypt(nonce, plaintext, row_id.encode())

    def decrypt(self, ciphertext: bytes, row_id: str) -> bytes:
        """:raises StoreUnavailable: where no key of ours opens it, or it was moved to another row."""
        key_id, nonce = ciphertext[:_KEY_ID_BYTES], ciphertext[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        key = self._load_keys().get(key_id)
        if key is None:
            raise StoreUnavailable(self._unknown_key_message(key_id))
        try:
            return AESGCM(key).decrypt(nonce, ciphertext[_KEY_ID_BYTES + _NONCE_BYTES :], row_id.encode())
        except InvalidTag as cause:
            raise StoreUnavailable(f"the encrypted value of {row_id} was changed or moved") from cause

    def compute_hmacs(self, purpose: str, text: str) -> list[str]:
        """HMACs of a text, one for each key; the first is ours to give, all are good to accept."""
        return [
            hmac.new(hashlib.sha256(purpose.encode() + key).digest(), text.encode(), "sha256").hexdigest()
            for key in self._load_keys().values()
        ]

    def _unknown_key_message(self, key_id: bytes) -> str:
        """What to do where no key opens the store."""
        file = _key_file(Path(self._settings.data_dir))
        given = "encryption_keys" if self._settings.encryption_keys else str(file)
        if self._settings.encryption_keys and file.is_file() and _key_id(_read_key(file)) == key_id:
            advice = f"{file} does: leave encryption_keys out, or put that file's key behind yours after a comma"
        else:
            advice = "set encryption_keys to what it was when the store was made; a new key goes before the old ones"
        return f"the store was encrypted under another key, and {given} does not open it; {advice}"

    def _load_keys(self) -> dict[bytes, bytes]:
        if not self._keys:
            texts = self._settings.encryption_keys or (_read_or_generate_key(Path(self._settings.data_dir)),)
            keys = [base64.b64decode(text) for text in texts]
            self._keys = {_key_id(key): key for key in keys}
        return self._keys


def encrypt_with_secret(secret: str, plaintext: bytes) -> bytes:
    """Encrypt so that only who holds the secret can open it. The key serves for one message: nonce zero."""
    return AESGCM(_derive_key(secret)).encrypt(bytes(_NONCE_BYTES), plaintext, None)


def decrypt_with_secret(secret: str, ciphertext: bytes) -> bytes | None:
    """What ``seal_under`` sealed; None where the secret is another."""
    try:
        return AESGCM(_derive_key(secret)).decrypt(bytes(_NONCE_BYTES), ciphertext, None)
    except InvalidTag:
        return None


def _derive_key(secret: str) -> bytes:
    # Not the digest that the store keeps: that one must not open anything.
    return hmac.new(secret.encode(), b"valetkey retry answer", "sha256").digest()


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"id" + key).digest()[:_KEY_ID_BYTES]


def _key_file(folder: Path) -> Path:
    return folder / "encryption.key"


def _read_key(file: Path) -> bytes:
    try:
        return base64.b64decode(file.read_text().strip())
    except (OSError, ValueError):
        return b""


def _read_or_generate_key(folder: Path) -> str:
    path = _key_file(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_key_file(path)
        return path.read_text().strip()
    except OSError as cause:
        raise StoreUnavailable(
            f"the folder {folder} cannot be written ({cause.strerror}): set data_dir to one that can, "
            "or set encryption_keys"
        ) from cause
