"""A private Redis."""

import socket
from pathlib import Path
from typing import ClassVar

from ops.stack.accounts import give, service_account
from ops.stack.ports import HOST
from ops.stack.service import PrivateService, plain_environment

# Redis is a cache here: nothing in it is worth a write to the disk, and when it is full the
# entries that were not used for longest go.
_SETTINGS = """\
bind {host}
port {port}
requirepass {password}
daemonize no
appendonly no
save ""
maxmemory 512mb
maxmemory-policy allkeys-lru
"""


class Redis(PrivateService):
    """Redis (or Valkey) from local binaries: password, 127.0.0.1 only, nothing kept on disk."""

    name: ClassVar[str] = "redis"
    port_names: ClassVar[tuple[str, ...]] = ("redis",)

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port/0`."""
        return f"redis://:{self._password()}@{HOST}:{self.port('redis')}/0"

    def stop(self) -> None:
        """Stop it; what it held is gone, as its users expect of a cache."""
        self._process.stop(timeout_s=10.0)

    def _launch(self) -> None:
        account = service_account("redis")
        folder: Path = self._run.data() / self.name
        folder.mkdir(parents=True, exist_ok=True)
        give(folder, account, 0o700)
        settings = folder / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            _SETTINGS.format(host=HOST, port=self.port("redis"), password=self._password())
        )
        give(settings, account, 0o600)
        self._process.start(
            [self.programs.paths["redis-server"], settings],
            environment=plain_environment(folder),
            folder=folder,
            account=account,
        )
        self._await(self._answers, "Redis")

    def _answers(self) -> bool:
        """Whether our password is accepted, which a foreign Redis on the port would refuse."""
        try:
            with socket.create_connection((HOST, self.port("redis")), timeout=2) as connection:
                connection.sendall(f"AUTH {self._password()}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False
