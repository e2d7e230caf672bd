"""A private Postgres."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import ClassVar, Literal

from ops.errors import OperatorError
from ops.stack.accounts import Account, give, service_account
from ops.stack.ports import HOST, accepts
from ops.stack.service import PrivateService, plain_environment, quietly

DATABASE = "tekana"
USER = "tekana"

# An unset value is Postgres's own default; each one set here has its reason.
_SETTINGS = {
    "listen_addresses": f"'{HOST}'",  # Nobody outside this machine.
    "unix_socket_directories": "''",  # A socket's path may be too long below a deep checkout.
    "fsync": "on",  # Durability is the product: development and tests measure and prove it.
    "synchronous_commit": "on",  # A commit that was answered survives a power cut.
    # A flood is not slowed by a checkpoint every minute; only a flood has ever so much of it.
    "max_wal_size": "6GB",
    "max_connections": "100",  # Two workers, one API and a test run need about thirty.
    "timezone": "'UTC'",  # Times are shown as they are stored.
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] '",
}


_SHARED_MOST_MB = 4096
"""Holds the indexes of ten million transfers, and a million wallets with theirs."""


def _shared_buffers() -> str:
    """A quarter of this machine's memory, which Postgres's manual advises; taken as it is used."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return f"{min(memory_mb // 4, _SHARED_MOST_MB)}MB"


class Postgres(PrivateService):
    """Postgres from local binaries: password over TCP on 127.0.0.1, checksums, fsync on."""

    name: ClassVar[str] = "postgres"
    port_names: ClassVar[tuple[str, ...]] = ("sql",)

    @property
    def url(self) -> str:
        """`postgresql://user:password@127.0.0.1:port/tekana`."""
        return self._url(DATABASE)

    @property
    def folder(self) -> Path:
        """Where the cluster's data lie."""
        return self._run.data() / self.name / "data"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: `fast` ends sessions and checkpoints, `immediate` leaves recovery to do."""
        number = signal.SIGINT if mode == "fast" else signal.SIGQUIT
        self._process.stop(number, timeout_s=60.0)

    def _launch(self) -> None:
        account = service_account("postgres")
        if not (self.folder / "PG_VERSION").exists():
            self._make_cluster(account)
        self._refuse_other_version()
        self._refuse_foreign_server()
        self._configure(account)
        self._process.start(
            [self.programs.paths["postgres"], "-D", self.folder],
            environment=plain_environment(self.folder.parent),
            folder=self.folder,
            account=account,
        )
        self._await(self._answers, "Postgres")
        self._make_database()

    def _make_cluster(self, account: Account | None) -> None:
        """Make the data under another name first: an interrupted initdb never passes for whole."""
        home = self.folder.parent
        home.mkdir(parents=True, exist_ok=True)
        give(home, account, 0o700)
        fresh = home / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = home / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password())
        give(password_file, account, 0o600)
        command: list[str | Path] = [self.programs.paths["initdb"], "-D", fresh, "-U", USER]
        command += ["--auth=scram-sha-256", f"--pwfile={password_file}", "--data-checksums"]
        command += ["-E", "UTF8", "--locale=C.UTF-8"]
        made = subprocess.run(
            command,
            cwd=home,
            env=plain_environment(home),
            capture_output=True,
            text=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        password_file.unlink()
        self._check_interrupted()
        if made.returncode != 0:
            said = (made.stdout + made.stderr).strip().splitlines()[-15:]
            raise OperatorError(
                "initdb could not make the Postgres data.",
                f"See above; the data were to lie in {home}",
                detail="\n".join(said),
            )
        fresh.rename(self.folder)

    def _refuse_other_version(self) -> None:
        made_by = int((self.folder / "PG_VERSION").read_text().strip())
        found = self.programs.version[0]
        if made_by != found:
            raise OperatorError(
                f"The data in {self.folder} were made by PostgreSQL {made_by}, "
                f"but PostgreSQL {found} was found.",
                f"Install PostgreSQL {made_by}, or give the data up: ./tekana down --purge",
            )

    def _refuse_foreign_server(self) -> None:
        """Clear a stale lock file, unless a server really has these data open.

        Postgres itself only asks whether *some* process has the pid in the file. After a reboot,
        and in containers above all, that may be anybody.
        """
        lock = self.folder / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            lock.unlink(missing_ok=True)
            return
        try:
            working_folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            working_folder = None
        if working_folder == self.folder:
            raise OperatorError(
                f"Process {pid} has {self.folder} open, but this stack did not record it.",
                f"Stop it with: kill -INT {pid}",
            )
        lock.unlink()

    def _configure(self, account: Account | None) -> None:
        settings = {
            **_SETTINGS,
            "shared_buffers": _shared_buffers(),
            "port": str(self.port("sql")),
        }
        if self.programs.has_statistics:
            settings["shared_preload_libraries"] = "'pg_stat_statements'"  # Who takes the time.
        ours = self.folder / "tekana.conf"
        ours.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        give(ours, account, 0o600)
        main = self.folder / "postgresql.conf"
        include = "include 'tekana.conf'\n"
        text = main.read_text()
        if include not in text:
            main.write_text(f"{text}\n{include}")

    def _answers(self) -> bool:
        import psycopg2

        def connect() -> None:
            psycopg2.connect(self._url("postgres"), connect_timeout=2).close()

        return accepts(self.port("sql")) and quietly(connect, psycopg2.OperationalError)

    def _make_database(self) -> None:
        import psycopg2

        connection = psycopg2.connect(self._url("postgres"), connect_timeout=5)
        try:
            connection.autocommit = True  # A database cannot be made inside a transaction.
            cursor = connection.cursor()
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@{HOST}:{self.port('sql')}/{database}"
