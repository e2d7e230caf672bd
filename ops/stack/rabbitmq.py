"""A private RabbitMQ with an epmd of its own."""

import secrets
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from ops.errors import OperatorError
from ops.stack.accounts import Account, give, service_account
from ops.stack.discover import Programs
from ops.stack.folder import RunFolder
from ops.stack.ports import HOST, accepts
from ops.stack.processes import ManagedProcess
from ops.stack.service import PortTaken, PrivateService, plain_environment, quietly

USER = "tekana"
VIRTUAL_HOST = "tekana"
_PLUGINS = "[rabbitmq_management,rabbitmq_prometheus].\n"

# The default user replaces `guest`, which is never made. A message is bounded because every
# instruction is; memory and disk limits are absolute so that a small or a large machine, or one
# that is shared with Postgres, behaves alike. The log of the quorum queues is held in memory
# until it is this large, and up to three times: 512 MB, as by default, would not fit.
_SETTINGS = """\
listeners.tcp.local = {host}:{amqp}
default_vhost = {virtual_host}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
max_message_size = 131072
raft.wal_max_size_bytes = 134217728
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = info
log.file = false
"""
# Two schedulers serve a development machine; RabbitMQ's own spinning would take the CPU that
# Postgres and the workers need. Binding schedulers to cores would put two stacks on the same.
_ERLANG_FLAGS = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none +stbt u"


class RabbitMQ(PrivateService):
    """RabbitMQ from local binaries: own cookie, own epmd, all its ports on 127.0.0.1."""

    name: ClassVar[str] = "rabbitmq"
    port_names: ClassVar[tuple[str, ...]] = (
        "amqp",
        "management",
        "prometheus",
        "distribution",
        "epmd",
    )
    start_timeout_s: ClassVar[float] = 90.0

    def __init__(self, run: RunFolder, programs: Programs | None) -> None:
        super().__init__(run, programs)
        self._epmd = ManagedProcess("epmd", run.path)

    @property
    def url(self) -> str:
        """`amqp://user:password@127.0.0.1:port/tekana`."""
        return f"amqp://{USER}:{self._password()}@{HOST}:{self.port('amqp')}/{VIRTUAL_HOST}"

    @property
    def management_url(self) -> str:
        """The management API and its pages, for the same user: `http://user:password@…`."""
        return f"http://{USER}:{self._password()}@{HOST}:{self.port('management')}"

    def ctl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Run rabbitmqctl against this broker and return what it prints.

        Raises OperatorError with its output if it fails.
        """
        account = service_account("rabbitmq")
        done = subprocess.run(
            [str(self.programs.paths["rabbitmqctl"]), "-n", self._node(), *arguments],
            cwd=self._home(),
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            check=False,
        )
        if done.returncode != 0:
            raise OperatorError(
                f"rabbitmqctl {' '.join(arguments)} failed.", detail=(done.stdout + done.stderr)
            )
        return done.stdout

    def stop(self) -> None:
        """Stop the broker in order, then its epmd; queues and messages stay."""
        self._process.stop(timeout_s=60.0)
        self._epmd.stop(timeout_s=5.0)

    def kill(self) -> None:
        """SIGKILL to the broker and its epmd."""
        super().kill()
        self._epmd.kill()

    def _end_leftovers(self) -> None:
        super()._end_leftovers()
        self._epmd.kill()

    def _launch(self) -> None:
        account = service_account("rabbitmq")
        self._prepare(account)
        # Started by us and in the foreground: the one Erlang starts by itself becomes a daemon
        # that nobody has recorded, and listens on every address.
        self._epmd.start(
            [self.programs.paths["epmd"], "-port", str(self.port("epmd")), "-address", HOST],
            environment=plain_environment(self._home()),
            folder=self._home(),
            account=account,
        )
        # Otherwise the broker would start an epmd itself.
        while not accepts(self.port("epmd")):
            self._check_interrupted()
            if not self._epmd.running():
                raise PortTaken(
                    f"epmd did not start; port {self.port('epmd')} on {HOST} may be taken.",
                    "Run the command again; another port is chosen.",
                    detail=self._epmd.log_tail(),
                )
        self._process.start(
            [self.programs.paths["rabbitmq-server"]],
            environment=self._environment(),
            folder=self._home(),
            account=account,
        )
        self._await(self._answers, "RabbitMQ")
        self._run.remember(self.name, whole=True)

    def _prepare(self, account: Account | None) -> None:
        home = self._home()
        if not self._run.recall(self.name).get("whole"):
            # A first start that was interrupted may have left a broker without its user.
            shutil.rmtree(home / "mnesia", ignore_errors=True)
        for folder in (home, home / "mnesia", home / "log"):
            folder.mkdir(parents=True, exist_ok=True)
            give(folder, account, 0o700)
        cookie = home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(secrets.token_hex(20))
            give(cookie, account, 0o400)
        ports = {name: self.port(name) for name in ("amqp", "management", "prometheus")}
        settings = _SETTINGS.format(
            host=HOST, user=USER, virtual_host=VIRTUAL_HOST, password=self._password(), **ports
        )
        for name, text in (("rabbitmq.conf", settings), ("enabled_plugins", _PLUGINS)):
            file = home / name
            file.touch(mode=0o600)
            file.write_text(text)
            give(file, account, 0o600)

    def _environment(self) -> dict[str, str]:
        """The variables of the broker and of rabbitmqctl; none leads to the system's own files."""
        home = self._home()
        return {
            **plain_environment(home),
            # Read by every Erlang program: otherwise distribution listens on every address.
            "ERL_ZFLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self.port("epmd")),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_NODENAME": self._node(),
            "RABBITMQ_DIST_PORT": str(self.port("distribution")),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq"),
            "RABBITMQ_CONFIG_FILES": str(home / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(home / "feature_flags"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_FLAGS,
            # The start script then becomes the broker instead of staying as its parent, so
            # that the recorded pid is the broker's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _node(self) -> str:
        """The node's name is part of its data: made once, and kept if the checkout moves."""
        found: str | None = self._run.recall(self.name).get("node")
        if found is None:
            found = f"tekana-{self._run.digest()}@localhost"
            self._run.remember(self.name, node=found)
        return found

    def _home(self) -> Path:
        return self._run.data() / self.name

    def _answers(self) -> bool:
        from amqp import AMQPError, Connection

        def connect() -> None:
            connection = Connection(
                f"{HOST}:{self.port('amqp')}",
                userid=USER,
                password=self._password(),
                virtual_host=VIRTUAL_HOST,
                connect_timeout=3,
            )
            connection.connect()
            connection.close()

        return accepts(self.port("amqp")) and quietly(connect, AMQPError, OSError)
