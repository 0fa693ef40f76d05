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


def hide_patient(text: str, patient: str, replacement: str) -> str:
    """`text` (a path, a reason) with `replacement` wherever `patient` stands, whatever its case and leading zeros.

    A part of a longer number or word is left: those are other ids.

    Examples
    --------
    >>> hide_patient("scans/MRN17/MRN17_2.png", "MRN17", "5b1c")
    'scans/5b1c/5b1c_2.png'
    >>> hide_patient("scans/MRN170.png", "MRN17", "5b1c")
    'scans/MRN170.png'
    >>> hide_patient("scans/0017b_JANE.png", "17", "5b1c")
    'scans/5b1cb_JANE.png'
    """
    if not patient:
        return text
    core = re.escape(patient)
    if patient.isdecimal() and patient.strip("0"):
        core = "0*" + patient.lstrip("0")
    return re.sub(f"(?<!{_kind(patient[0])}){core}(?!{_kind(patient[-1])})", replacement, text, flags=re.IGNORECASE)


def _kind(character: str) -> str:
    """A pattern for what a number or a word would go on with."""
    return r"\d" if character.isdecimal() else r"[^\W\d_]" if character.isalpha() else "(?!)"
