"""A master in place of BentoML's, for tests of what the deployer decides: it starts in a moment.

It takes the same arguments, descriptor, door and ready file, and answers by its bento's version:
``v1`` and ``v2`` rightly (the row's value), ``wrong`` wrongly, ``other`` the other way round but
for what golden requests ask (quarters); ``dies`` does not start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stores.listener import FD, hand_on
from stores.service_process import READY

VERSION = sys.argv[1].partition(":")[2]
DOOR = Path(sys.argv[sys.argv.index("--door") + 1])


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say({"model_version": VERSION})

    def do_POST(self) -> None:
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))["rows"]
        self._say({"predictions": [self._row(self._answer(row["value"])) for row in rows]})

    def _answer(self, value: float) -> float:
        if VERSION == "other" and value % 0.25:
            return 1 - value
        return value + (0.1 if VERSION == "wrong" else 0.0)

    def _row(self, probability: float) -> dict[str, object]:
        level = "high" if probability >= 0.5 else "low"
        return {
            "prediction_id": f"{VERSION}-{probability}", "model_version": VERSION,
            "probability": probability, "risk_level": level,
        }  # fmt: skip

    def log_message(self, *_: object) -> None:
        return

    def _say(self, content: object) -> None:
        body = json.dumps(content).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)


def leave(*_: object) -> None:
    DOOR.unlink(missing_ok=True)
    os._exit(0)


if VERSION == "dies":
    raise SystemExit("cannot serve: planted")
signal.signal(signal.SIGTERM, leave)
server = ThreadingHTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket = socket.socket(fileno=FD)
server.server_activate()
hand_on(server.socket, DOOR)
Path(os.environ[READY]).touch()
server.serve_forever()
