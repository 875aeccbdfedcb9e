"""The services of one soak: servers of its own that may be killed, and a disk of its own that may fill up."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.soak.proxy import CommitProxy
from tests.support import free_port

READY_SECONDS = 60
# Holds 5,000 photographs with their pictures three times over.
DISK_BYTES = 600 * 1024 * 1024


def is_root() -> bool:
    """Whether mounting is allowed here."""
    return os.geteuid() == 0


def _run(*command: str, env: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=READY_SECONDS)


class Postgres:
    """A PostgreSQL cluster, and the proxy that the portal reaches it through."""

    def __init__(self, directory: Path) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not programs:
            raise RuntimeError("PostgreSQL is not installed")
        self.programs = programs[-1].parent
        self.data = directory / "postgresql" / "data"
        self.port = free_port()
        # The server refuses to run as root.
        self.as_user = ["runuser", "-u", "postgres", "--"] if is_root() else []
        if not self.data.exists():
            self._create()
        else:
            with suppress(subprocess.CalledProcessError):
                self.stop_immediately()
        self.start()
        self.proxy = CommitProxy(self.port)
        self.url = f"postgres://postgres@127.0.0.1:{self.proxy.port}/retina"
        self.direct = f"postgres://postgres@127.0.0.1:{self.port}/retina"

    def _create(self) -> None:
        self.data.parent.mkdir()
        if is_root():
            shutil.chown(self.data.parent, "postgres")
        _run(*self.as_user, str(self.programs / "initdb"), "-D", str(self.data), "-A", "trust", "-U", "postgres", "-N")
        self.start()
        _run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", "CREATE DATABASE retina")
        self.stop_immediately()

    def _control(self, *arguments: str) -> None:
        _run(*self.as_user, str(self.programs / "pg_ctl"), "-D", str(self.data), "-w", *arguments)

    def start(self) -> None:
        """Start it, by its log where it was stopped in the middle."""
        options = f"-p {self.port} -k {self.data.parent} -c listen_addresses=127.0.0.1 -c fsync=off"
        options += " -c max_connections=200"
        # pg_ctl's child keeps its output open: with a pipe there, waiting for pg_ctl would never end.
        self._control("-l", str(self.data.parent / "log"), "-o", options, "start")

    def stop_immediately(self) -> None:
        """End it without letting anybody finish."""
        self._control("-m", "immediate", "stop")

    def close(self) -> None:
        """End it for good."""
        self.proxy.close()
        with suppress(subprocess.CalledProcessError):
            self.stop_immediately()


class Redis:
    """A Redis server that keeps nothing."""

    def __init__(self, directory: Path) -> None:
        if shutil.which("redis-server") is None:
            raise RuntimeError("redis-server is not installed")
        self.directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        """Start it with nothing in it."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.directory)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )

    def empty(self) -> None:
        """Forget everything, with all connections kept."""
        _run("redis-cli", "-p", str(self.port), "FLUSHALL")

    def close(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class RabbitMQ:
    """A RabbitMQ node beside any other of this host."""

    PROGRAMS = Path("/usr/lib/rabbitmq/bin")

    def __init__(self, directory: Path) -> None:
        if not (self.PROGRAMS / "rabbitmq-server").exists():
            raise RuntimeError("RabbitMQ is not installed")
        self.directory = directory / "rabbitmq"
        self.directory.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        self.node = f"soak{self.port}@localhost"
        self.pid_file = self.directory / "pid"
        self.env = self._environment()
        self.start()

    def _environment(self) -> dict[str, str]:
        nothing, plugins = self.directory / "none", self.directory / "plugins"
        nothing.touch()
        plugins.write_text("[].")
        own = {
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(nothing),
            "RABBITMQ_CONFIG_FILE": str(nothing),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.pid_file),
            # One thread that sleeps when there is nothing to do: the machine is shared with the portal.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        return {**os.environ, **own}

    def start(self) -> None:
        """Start the node and wait until it answers."""
        command = [str(self.PROGRAMS / "rabbitmq-server")]
        with (self.directory / "out").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            with suppress(subprocess.CalledProcessError):
                self.control("await_startup", "--timeout", "30")
                return
            time.sleep(0.5)
        raise RuntimeError("RabbitMQ did not start")

    def control(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``."""
        _run(str(self.PROGRAMS / "rabbitmqctl"), "-q", "-n", self.node, *arguments, env=self.env)

    def signal(self, number: int) -> None:
        """Send a signal to the node and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it at once; what it had on disk stays."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it for good."""
        self.signal(signal.SIGCONT)
        self.kill()


class Disk:
    """The portal's media: a file system of their own where mounting is allowed, else a plain folder.

    Attributes:
        path: Where the portal finds them.
        is_mounted: Whether they can be filled up, taken away and write-protected.
    """

    def __init__(self, directory: Path, path: Path) -> None:
        self.path = path
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.is_mounted = is_root()
        self.behind = directory / "disk"
        if not self.is_mounted:
            return
        self.behind.mkdir(exist_ok=True)
        if not os.path.ismount(self.behind):
            _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "soak", str(self.behind))
        self.filler = self.behind / ".filler"
        self.filler.unlink(missing_ok=True)
        if not os.path.ismount(self.path):
            self.attach()

    def attach(self) -> None:
        """Mount it where the portal looks."""
        _run("mount", "--bind", str(self.behind), str(self.path))

    def detach(self) -> None:
        """Take it away, also from under open files: an empty folder stays."""
        _run("umount", "--lazy", str(self.path))

    def protect(self) -> bool:
        """Make it read-only; return whether the kernel did so (not while a file is being written)."""
        return self._remount("remount,bind,ro")

    def unprotect(self) -> None:
        """Make it writable again."""
        self._remount("remount,bind,rw")

    def _remount(self, options: str) -> bool:
        for _attempt in range(40):
            with suppress(subprocess.CalledProcessError):
                _run("mount", "-o", options, str(self.path))
                return True
            time.sleep(0.05)
        return False

    def fill(self) -> None:
        """Leave no room."""
        with self.filler.open("wb") as file:
            free = shutil.disk_usage(self.behind).free
            while free > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), free)
                except OSError:
                    # Somebody else took some of it in the meantime.
                    free //= 2
                else:
                    file.seek(0, os.SEEK_END)
                    free = shutil.disk_usage(self.behind).free

    def empty(self) -> None:
        """Make room again."""
        self.filler.unlink(missing_ok=True)

    def below_the_mount_point(self) -> list[str]:
        """Return what was written while it was away; call it at the end, detached for good."""
        return [str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()]

    def close(self) -> None:
        """Unmount everything."""
        if self.is_mounted:
            for place in (self.path, self.behind):
                if os.path.ismount(place):
                    _run("umount", "--lazy", str(place))
