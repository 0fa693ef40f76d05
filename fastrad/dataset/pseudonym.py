"""Patients without names: a keyed hash in place of each patient id.

In: patient ids as the source has them, and a secret key. Out: pseudonyms of 16 hexadecimal digits, the same for the
same id and key, so that files converted at different times can be joined by whoever holds the key, and by nobody else.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from fastrad.errors import InputError
from fastrad.system.files import new_file_beside, sync_folder
from fastrad.system.reading import read_whole

_KEY_BYTES = 32
_MAX_KEY_BYTES = 1 << 12
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?\1(?!\w)""", re.DOTALL)
_SUFFIX = "png|jpe?g|jfif|bmp|dib|tiff?|btf|gif|dcm|dicom|h5|hdf5|xml|json|csv"
_NO_PATHS = {"Input/output"}  # of the operating system's words
_PATH = re.compile(rf"[^\s()]*(?:[/\\][^\s()]*|\.(?:{_SUFFIX})\b)", re.IGNORECASE)


def default_key_path() -> Path:
    """`fastrad/pseudonym.key` in the user's configuration folder."""
    config = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "fastrad" / "pseudonym.key"


def read_or_make_key(path: Path) -> tuple[bytes, bool]:
    """The key at `path`, made (32 random bytes, readable by the owner alone) where there is none.

    Returns
    -------
    key : bytes
    made : bool
        True where it was made now.

    Raises
    ------
    InputError
        If the file holds no key.
    """
    try:
        return read_key(path), False
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = secrets.token_bytes(_KEY_BYTES)
        with new_file_beside(path, 0o600) as (file, temporary):
            file.write(key.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(temporary, path)  # fails where another process made the key meanwhile
            except FileExistsError:
                return read_or_make_key(path)
            except OSError:  # a file system without hard links
                os.rename(temporary, path)
        sync_folder(path.parent)
        return key, True


def read_key(path: Path) -> bytes:
    """The key at `path`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    InputError
        If the file holds no key.
    """
    try:
        key = bytes.fromhex(read_whole(path, _MAX_KEY_BYTES, "a pseudonym key").decode().strip())
    except (ValueError, UnicodeError):  # an InputError is one too: no regular file, say
        key = b""
    if len(key) < 16:
        raise InputError(f"{path}: holds no pseudonym key (at least 32 hexadecimal digits); name another file")
    return key


def pseudonym(patient: str, key: bytes) -> str:
    """16 hexadecimal digits of BLAKE2b keyed with `key` (RFC 7693), over the id in UTF-8."""
    return hashlib.blake2b(patient.encode(), key=key[:64], digest_size=8).hexdigest()


def without_values(reason: str) -> str:
    """A reason for refusing a row, without what it quotes of table or file, and without paths: those may name patients.

    Whoever writes a reason quotes each value, as `repr` does; what is not quoted is fastrad's own words.

    Examples
    --------
    >>> without_values("label 'Mustermann, Erika' is excluded")
    'label ... is excluded'
    >>> without_values("no such file; scans/0042137.dcm is there")
    'no such file; ... is there'
    """
    return _PATH.sub(lambda found: found[0] if found[0] in _NO_PATHS else "...", _QUOTED.sub("...", reason))
