"""A Hub of one repository on this machine, which answers huggingface_hub the way the real one does."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves `repository` from the files of `folder`, with a TensorFlow and a Flax copy of the weights beside them.

    Attributes:
        files: name and content of each file; tests change it before they ask.
        downloaded: names of the files that were fetched, in order.
        broken: names of files whose download stops half way.
        status: answer to every request where it is not 200.
        code: of the error that goes with it.
        accepts_tokens: whether a request may bring one; 401 otherwise.
    """

    def __init__(self, repository: str, folder: Path) -> None:
        self.repository = repository
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files |= {"tf_model.h5": b"tensorflow", "flax_model.msgpack": b"flax", ".gitattributes": b"*.bin lfs"}
        self.downloaded: list[str] = []
        self.broken: set[str] = set()
        self.status = 200
        self.code = ""
        self.accepts_tokens = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that make an export use this Hub, with its cache in `home`."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def __enter__(self) -> FakeHub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; later connections are refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def _answer(self) -> None:
                path = unquote(self.path.split("?")[0])
                api, files = f"/api/models/{hub.repository}", f"/{hub.repository}/resolve/{COMMIT}/"
                if not hub.accepts_tokens and "Authorization" in self.headers:
                    self._send(401, b"", {"X-Error-Code": hub.code} if hub.code else {})
                elif hub.status != 200:
                    self._send(hub.status, b"", {"X-Error-Code": hub.code} if hub.code else {})
                elif path in {api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"}:
                    siblings = [{"rfilename": name, "size": len(content)} for name, content in hub.files.items()]
                    listing = {"_id": "1", "id": hub.repository, "sha": COMMIT, "siblings": siblings}
                    self._send(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})
                elif path.startswith(f"{api}/"):
                    self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
                elif not path.startswith(files):
                    self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                elif (name := path.removeprefix(files)) not in hub.files:
                    self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                else:
                    self._send_file(name)

            def _send_file(self, name: str) -> None:
                content = hub.files[name]
                if self.command == "GET":
                    hub.downloaded.append(name)
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
                self._send(200, content, headers, sent=len(content) // 2 if name in hub.broken else None)

            def _send(self, status: int, body: bytes, headers: dict[str, str], sent: int | None = None) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body[:sent])

        return Handler
