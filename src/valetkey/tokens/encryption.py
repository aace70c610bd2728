"""Encryption of stored data: AES-256-GCM with the setting ``encryption_keys``, each ciphertext bound to its row."""

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
from valetkey.storage.engine.files import access_error, new_private_file, place_new_file, resolve_links, sync
from valetkey.storage.engine.transaction import StoreUnavailable

_KEY_BYTES, _KEY_ID_BYTES, _NONCE_BYTES = 32, 8, 12


def generate_encryption_key() -> str:
    """Return a new key for the setting ``encryption_keys``: 32 random bytes in base64."""
    return base64.b64encode(os.urandom(32)).decode("ascii")


def write_key_file(path: Path) -> None:
    """Write a new encryption key to a file that only its owner can read (mode 0600), unless the file exists.

    The file is on disk before anything is encrypted with the key. If the file system has hard links, it appears with
    its whole content or not at all. If several processes do this at once, the key of the first one remains.

    :param path: path of the file, or a symbolic link to it.
    :raises OSError: if the file cannot be written.
    """
    path = resolve_links(path)
    if path.exists():
        return
    content = f"{generate_encryption_key()}\n".encode()
    with new_private_file(path, lambda descriptor: os.write(descriptor, content)) as file:
        sync(file)
        with contextlib.suppress(FileExistsError):  # the first process wins
            place_new_file(file, path)
        sync(path.parent)


class Cipher:
    """Encrypts data for the database with the first key of the setting ``encryption_keys``; decrypts with any of them.

    If the setting is empty, the key is read from the file ``encryption.key`` in ``data_dir``. Keys are read at first
    use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys: dict[bytes, bytes] = {}

    def create_key_file(self) -> None:
        """Create the file ``encryption.key`` in ``data_dir`` if the setting is empty and the file does not exist.

        Only a new database needs it: what is stored in an existing one was encrypted with another key.

        :raises StoreUnavailable: if the file cannot be written.
        """
        if self._settings.encryption_keys:
            return
        folder = Path(self._settings.data_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_key_file(_key_file(folder))
        except OSError as cause:
            raise StoreUnavailable(
                f"the folder {folder} cannot be written ({cause.strerror}): run this as the user of the server, set "
                "data_dir to a writable folder, or set encryption_keys"
            ) from cause

    def encrypt(self, plaintext: bytes, row_id: str) -> bytes:
        """Return the ciphertext, which can only be decrypted with the same ``row_id``.

        :param row_id: table and primary key of the row that stores the ciphertext, such as ``signing_keys:<kid>``.
        :raises StoreUnavailable: if the key file is needed and does not exist or contains no key.
        """
        key_id, key = next(iter(self._load_keys().items()))
        nonce = os.urandom(_NONCE_BYTES)
        return key_id + nonce + AESGCM(key).encrypt(nonce, plaintext, row_id.encode())

    def decrypt(self, ciphertext: bytes, row_id: str) -> bytes:
        """Return the plaintext of a ciphertext that ``encrypt`` returned.

        :param row_id: table and primary key of the row that stores the ciphertext, such as ``signing_keys:<kid>``.
        :raises StoreUnavailable: if no configured key matches, or the ciphertext was changed or moved to another row.
        """
        key_id, nonce = ciphertext[:_KEY_ID_BYTES], ciphertext[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        key = self._load_keys().get(key_id)
        if key is None:
            raise StoreUnavailable(self._unknown_key_message(key_id))
        try:
            return AESGCM(key).decrypt(nonce, ciphertext[_KEY_ID_BYTES + _NONCE_BYTES :], row_id.encode())
        except InvalidTag as cause:
            raise StoreUnavailable(
                f"the encrypted value of {row_id} was changed or moved: restore the database from a backup"
            ) from cause

    def uses_first_key(self, ciphertext: bytes) -> bool:
        """Return whether ``encrypt`` would use the same key as this ciphertext was encrypted with.

        :raises StoreUnavailable: if the key file is needed and does not exist or contains no key.
        """
        return ciphertext[:_KEY_ID_BYTES] == next(iter(self._load_keys()))

    def compute_hmacs(self, purpose: str, text: str) -> list[str]:
        """Return the HMACs of a text in hexadecimal, one for each encryption key: send the first, accept any.

        :param purpose: what the HMAC is for; for another purpose, the same text has other HMACs.
        """
        return [
            hmac.digest(hashlib.sha256(purpose.encode() + key).digest(), text.encode(), "sha256").hex()
            for key in self._load_keys().values()
        ]

    def _unknown_key_message(self, key_id: bytes) -> str:
        """Return an error message that says how to configure the key for data that no configured key decrypts."""
        file = _key_file(Path(self._settings.data_dir))
        source = "encryption_keys" if self._settings.encryption_keys else str(file)
        if self._settings.encryption_keys and _has_key(file, key_id):
            advice = f"the key is in {file}: remove encryption_keys, or append that file's key to it after a comma"
        else:
            advice = "set encryption_keys to its value when the database was created; put new keys in front of it"
        return f"the database was encrypted with another key than {source} has; {advice}"

    def _load_keys(self) -> dict[bytes, bytes]:
        if not self._keys:
            keys = [base64.b64decode(text) for text in self._settings.encryption_keys] or [self._read_key_file()]
            self._keys = {_key_id(key): key for key in keys}
        return self._keys

    def _read_key_file(self) -> bytes:
        file = _key_file(Path(self._settings.data_dir))
        try:
            key, problem = _read_key(file), "contains no encryption key"
        except (FileNotFoundError, NotADirectoryError):
            key, problem = b"", "does not exist"
        except OSError as cause:
            raise access_error(file, cause) from cause
        if len(key) != _KEY_BYTES:
            raise StoreUnavailable(
                f"the file {file} {problem}, and the database needs the key with which it was created: put the file "
                "back, or set data_dir to its folder or encryption_keys to its content"
            )
        return key


def encrypt_with_secret(secret: str, plaintext: bytes) -> bytes:
    """Return the plaintext encrypted with a key derived from a secret, such as a token: only its holder can decrypt it.

    Encrypt only one plaintext with each secret: the nonce is always zero.
    """
    return AESGCM(_derive_key(secret)).encrypt(bytes(_NONCE_BYTES), plaintext, None)


def decrypt_with_secret(secret: str, ciphertext: bytes) -> bytes | None:
    """Return the plaintext that ``encrypt_with_secret`` encrypted, or ``None`` if the secret is another one."""
    try:
        return AESGCM(_derive_key(secret)).decrypt(bytes(_NONCE_BYTES), ciphertext, None)
    except InvalidTag:
        return None


def _derive_key(secret: str) -> bytes:
    # Not the digest that is stored: a reader of the database must not be able to decrypt anything with it.
    return hmac.digest(secret.encode(), b"valetkey retry answer", "sha256")


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"id" + key).digest()[:_KEY_ID_BYTES]


def _key_file(folder: Path) -> Path:
    return folder / "encryption.key"


def _has_key(file: Path, key_id: bytes) -> bool:
    """Return whether a file contains the key with an id; false if it cannot be read."""
    try:
        return _key_id(_read_key(file)) == key_id
    except OSError:
        return False


def _read_key(file: Path) -> bytes:
    """Return the key in a file; no bytes if there is no base64 in it.

    :raises OSError: if the file cannot be read.
    """
    try:
        return base64.b64decode(file.read_text().strip())
    except ValueError:
        return b""
