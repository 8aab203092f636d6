"""Files and folders that only their owner can read: they have secrets, logs and customers' data."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
# For the processes that are started: what they make is for its owner only.
UMASK = 0o077


def private_folder(path: Path, mode: int = FOLDER) -> None:
    """Make the folder, or take the others' rights away where it exists. Raises OSError."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)


def open_private(path: str, flags: int) -> int:
    """The descriptor of a file that is made with the owner's rights alone; an `opener` of `open`."""
    return os.open(path, flags, FILE)


def write_private(path: Path, text: str) -> None:
    """Write the file as a whole or not at all. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open(draft, "x", encoding="utf-8", opener=open_private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def make_private(folder: Path) -> None:
    """Take the others' rights from the files of `folder` that an earlier release has left. Raises OSError."""
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            path.chmod(FILE)
