"""The unprivileged accounts that services run as when the caller is root."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A user of this machine and its main group."""

    name: str
    uid: int
    gid: int


def service_account(preferred: str) -> Account | None:
    """The account a service is to run as; None means the caller's own.

    Only root can change accounts, and only root has to: Postgres refuses to run as root.
    The package's own account is taken if it exists, else `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for name in (preferred, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise LookupError(f"neither {preferred} nor nobody is a user of this machine")


def give(path: Path, account: Account | None, mode: int) -> None:
    """Set the mode of a file or folder and hand it to the account, if there is one."""
    path.chmod(mode)
    if account is not None:
        os.chown(path, account.uid, account.gid)


def reachable_by_all(path: Path) -> bool:
    """Whether every account may pass through this folder and all folders above it."""
    resolved = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (resolved, *resolved.parents))
