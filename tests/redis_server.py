"""A real Redis server of one's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from redis import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S = 20.0


class RedisServer:
    """`redis-server` on a free port of this machine, with its data in a folder; ended when the `with` block ends.

    What it acknowledges is on the disk. Further settings follow the folder, as on its command line.

    Attributes:
        port: where it listens, also after `stop` and `start`.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        self._folder = folder
        self._settings = settings
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def url(self, database: int = 0) -> str:
        """As `--store` takes it."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def start(self) -> RedisServer:
        """Start it and wait until it answers; what it had stored is there again.

        Raises:
            RuntimeError: there is no `redis-server` on this machine, or it does not answer.
        """
        if shutil.which("redis-server") is None:
            raise RuntimeError(
                "There is no redis-server on this machine; install Redis with the system's package manager."
            )
        settings = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = subprocess.Popen(
            ["redis-server", *settings, *durable, *self._settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + START_TIMEOUT_S
        with Redis(port=self.port, protocol=2) as client:
            while True:
                try:
                    client.ping()
                    return self
                except RedisError as error:
                    if time.monotonic() > end:
                        self.stop()
                        raise RuntimeError(f"The Redis server did not start ({error}).") from error
                    time.sleep(0.02)

    def stop(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
