"""File operations: check existence, resolve symbolic links, create without overwriting, and sync to disk.

A command that root runs writes into a folder that may belong to the server's user, who must not gain anything from a
symbolic link there. So files are created with ``O_EXCL``, which follows no link, and only those get another owner.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .transaction import StoreUnavailable

# What a file system without hard links says.
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def file_exists(path: Path) -> bool:
    """Return whether there is a file or folder at a path.

    ``Path.exists`` raises ``PermissionError`` if this user may not search a folder; from Python 3.14 on, it returns
    ``False``.

    :raises StoreUnavailable: if a folder may not be searched; the message says what to do.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as cause:
        raise access_error(path, cause) from cause
    return True


def access_error(path: Path, cause: OSError) -> StoreUnavailable:
    """Return the exception to raise if this user may not read a file; its message says what to do."""
    return StoreUnavailable(
        f"{path} cannot be accessed ({cause.strerror}): run this as the user of the server, or correct the path or the "
        "permissions"
    )


def resolve_links(path: Path) -> Path:
    """Return the path to which symbolic links lead, whether or not there is a file."""
    return Path(os.path.realpath(path))  # Path.resolve() raises RuntimeError if links form a circle


def create_private_file(path: Path, like: Path | None = None) -> int:
    """Create a file that only its owner can read (mode 0600), and return a descriptor that can read and write it.

    If root creates it, it is given to the owner of another file: so a command that root runs leaves no file that the
    server's user cannot open.

    :param like: the other file; if it does not exist, or by default, the owner is that of its folder.
    :raises FileExistsError: if there is a file or a symbolic link at the path.
    :raises OSError: if the file cannot be created.
    """
    like = like or path
    owner = (like if like.exists() else like.parent).stat() if os.geteuid() == 0 else None  # before `path` exists
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if owner is not None:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


def restrict_to_owner(path: Path) -> None:
    """Make a regular file readable by its owner only. Nothing is changed through a symbolic link.

    :raises OSError: if there is no file, or it is another user's.
    """
    try:
        path.chmod(0o600, follow_symlinks=False)
    except NotImplementedError:  # raised for a link; with glibc before 2.32 or without /proc, for every file
        if stat.S_ISREG(path.lstat().st_mode):
            path.chmod(0o600)


def open_lock_file(path: Path, database: Path) -> int:
    """Return a descriptor of the lock file of a database; a missing file is created (see ``create_private_file``).

    :raises OSError: if it cannot be opened, or is a symbolic link or another file that is not regular.
    """
    with contextlib.suppress(FileExistsError):
        return create_private_file(path, database)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as cause:
        if cause.errno != errno.ELOOP:
            raise
        raise _not_regular(path) from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(path)
    return descriptor


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "not a regular file: remove it", str(path))


@contextmanager
def new_private_file(
    path: Path, fill: Callable[[int], object] | None = None, *, like: Path | None = None
) -> Iterator[Path]:
    """Context manager that yields a new, closed file under another name in the folder of ``path``.

    Afterwards, the file is removed if it still has that name.

    :param fill: writes the content to a file descriptor.
    :param like: as ``create_private_file`` takes it; by default, the folder.
    :raises OSError: if the file cannot be written.
    """
    file = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = create_private_file(file, like)
    try:
        try:
            if fill is not None:
                fill(descriptor)
        finally:
            os.close(descriptor)
        yield file
    finally:
        file.unlink(missing_ok=True)


def write_private_file(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read. Readers find the old content or all of the new.

    :raises OSError: if that fails; the old file is unchanged then.
    """
    with new_private_file(path, lambda descriptor: os.write(descriptor, content)) as file:
        os.replace(file, path)


def place_new_file(file: Path, path: Path) -> None:
    """Give a complete file its final path in the same folder. A file that is there is not replaced.

    On a file system without hard links, the path is reserved with an empty file, which remains if the process is killed
    before the next step.

    :param file: the path at which it was written; it may still exist afterwards.
    :raises FileExistsError: if there is a file at the final path.
    :raises OSError: if that fails; there is no file at the final path then.
    """
    try:
        os.link(file, path)  # atomic
    except OSError as refused:
        if refused.errno not in _NO_HARD_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(file, path)
        except BaseException:
            path.unlink()
            raise


def sync(path: Path) -> None:
    """Wait until a file that is no open database, or the names in a folder, are on disk.

    :raises OSError: if that fails. File systems that cannot do it are accepted.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as cause:
        if cause.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
