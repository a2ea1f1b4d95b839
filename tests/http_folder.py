"""A folder served over HTTP on this machine, with ranges and ETags as object stores have them, failing on demand."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """What a test sees and steers: `failing` answers 503 so many times; `bytes_sent` counts bodies."""

    folder: Path
    url: str = ""
    failing: int = 0
    bytes_sent: int = 0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def http_folder(folder: Path) -> Iterator[Served]:
    """The folder's files below `url`, until the body ends."""
    served = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            asked = self.headers.get("Range")
            served.requests.append((self.command, self.path, asked))
            path = served.folder / self.path.lstrip("/")
            if served.failing:
                served.failing -= 1
                self.send_error(503)
                return
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            first, last = 0, len(data) - 1
            if asked:
                start, _, end = asked.removeprefix("bytes=").partition("-")
                first, last = int(start), min(int(end or last), last)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("ETag", hashlib.sha256(data).hexdigest()[:16])
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            if body:
                served.bytes_sent += last + 1 - first
                self.wfile.write(data[first : last + 1])

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
