"""The real programs that check what is deployed: docker compose, HAProxy, hadolint.

None is ever replaced by an imitation: where one can't be had, the tests that need it fail
and say what to install.
"""

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ops.stack.folder import DEFAULT_RUN_FOLDER
from ops.stack.install import POLICY, services_held_back

_TOOLS: Final = DEFAULT_RUN_FOLDER / "tools"
"""Kept between test runs; removed with everything else by `./tekana down --purge`."""

_COMPOSE_SUITE: Final = "trixie"
"""The Debian release whose `docker-compose` is the real plugin, one static binary."""

_COMPOSE_INSIDE: Final = "usr/libexec/docker/cli-plugins/docker-compose"


class ToolMissing(AssertionError):
    """A program that a test needs is not here and cannot be had; the message says what to do."""


@functools.cache
def compose() -> tuple[str, ...]:
    """How `docker compose` is called here: the installed plugin, or Debian's, fetched once."""
    if shutil.which("docker") and _run("docker", "compose", "version").returncode == 0:
        return ("docker", "compose")
    plugin = _TOOLS / "docker-compose"
    if not plugin.exists():
        _fetch_compose(plugin)
    return (str(plugin),)


@functools.cache
def haproxy() -> str:
    """HAProxy's program; its Debian package is installed on first use, if we may."""
    return _installed("haproxy", "haproxy", folders="/usr/sbin:/usr/local/sbin")


@functools.cache
def openssl() -> str:
    """The program that makes certificates."""
    return _installed("openssl", "openssl")


@functools.cache
def psql() -> str:
    """Postgres's own client, as its image has it."""
    return _installed("psql", "postgresql-client")


def hadolint() -> str:
    """hadolint, a wheel among the development requirements."""
    beside = Path(sys.executable).with_name("hadolint")
    if not beside.exists():
        raise ToolMissing(f"{beside} is missing: install requirements-dev.lock")
    return str(beside)


def _installed(program: str, package: str, folders: str = "") -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), folders])
    found = shutil.which(program, path=path)
    if found is None:
        _apt_install(program, package)
        found = shutil.which(program, path=path)
    if found is None:
        raise ToolMissing(f"{package} was installed, but {program} is not on {path}")
    return found


def _apt_install(program: str, package: str) -> None:
    line = f"apt-get update && apt-get install -y --no-install-recommends {package}"
    if shutil.which("apt-get") is None:
        raise ToolMissing(f"{program} is missing: install {package} and see it is on the PATH")
    if os.geteuid() != 0:
        raise ToolMissing(f"{program} is missing. Run: sudo sh -c '{line}'")
    with services_held_back(POLICY):
        _apt("apt-get", "-q", "update")
        _apt("apt-get", "-q", "install", "-y", "--no-install-recommends", package)


def _fetch_compose(plugin: Path) -> None:
    """Unpack the plugin from Debian's package, with lists and a cache of our own.

    The system's sources stay untouched; apt checks the signature as for any package.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ToolMissing("`docker compose` is missing: install Docker's compose plugin")
    folder = _TOOLS / "apt"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={keyring}] {_mirror()} {_COMPOSE_SUITE} main\n")
    apt = ["apt-get", "-q", "-o", f"Dir::Etc::SourceList={sources}"]
    apt += ["-o", f"Dir::Etc::SourceParts={folder / 'parts'}"]
    apt += ["-o", f"Dir::State::Lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
    # Otherwise apt, run by root, would download as a user who cannot write here.
    apt += ["-o", "APT::Sandbox::User="]
    _apt(*apt, "update")
    _apt(*apt, "download", f"docker-compose/{_COMPOSE_SUITE}", folder=folder)
    [package] = folder.glob("docker-compose_*.deb")
    _apt("dpkg-deb", "-x", str(package), str(folder / "root"))
    (folder / "root" / _COMPOSE_INSIDE).replace(plugin)
    shutil.rmtree(folder)


def _mirror() -> str:
    """The Debian mirror that this machine uses already."""
    form = "$(CREATED_BY) $(ORIGIN) $(LABEL) $(REPO_URI)"
    for line in _run("apt-get", "indextargets", "--format", form).stdout.splitlines():
        made_by, origin, label, address = line.split(" ", 3)
        if (made_by, origin, label) == ("Packages", "Debian", "Debian"):
            return address
    raise ToolMissing(
        "`docker compose` is missing, and this is not Debian with its package lists "
        "(apt-get update): install Docker's compose plugin"
    )


def _apt(*command: str, folder: Path | None = None) -> None:
    done = _run(*command, folder=folder)
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-2000:]
        raise ToolMissing(f"{' '.join(command)} failed with code {done.returncode}:\n{said}")


def _run(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    arguments: Sequence[str] = command
    return subprocess.run(
        arguments,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
