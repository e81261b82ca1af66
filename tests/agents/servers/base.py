"""The HTTP side of a stand-in for a model's API, on loopback. It keeps every request body."""

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from scripts import Step


@dataclass(frozen=True)
class Request:
    """A request that reached the model."""

    path: str
    body: dict
    at: float
    is_side: bool  # not a turn of the conversation: a title, a summary, a count

    def text(self):
        return json.dumps(self.body, ensure_ascii=False)


class StandIn:
    """A model that answers from a script. A subclass speaks one vendor's protocol.

    Each request of the conversation takes the next step of the script; when it is used up, `otherwise` answers.
    """

    def __init__(self):
        self.steps = []
        self.otherwise = lambda request: Step(text="ok")
        self.requests = []
        self.others = []  # requests of paths that the stand-in does not serve
        self.changed = threading.Condition()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def answers(self, *steps):
        """Appends to the script."""
        with self.changed:
            self.steps.extend(steps)

    def conversation(self):
        """Returns the requests so far, without side requests."""
        with self.changed:
            return [request for request in self.requests if not request.is_side]

    def has_read(self, text):
        """Returns whether a request contained this text."""
        escaped = json.dumps(text, ensure_ascii=False)[1:-1]
        return any(escaped in request.text() for request in self.conversation())

    def take(self, path, body):
        """Records a request and returns the step that answers it."""
        is_side = self.is_side(path, body)
        request = Request(path, body, time.time(), is_side)
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            if is_side:
                step = Step(text="ok")
            else:
                step = self.steps.pop(0) if self.steps else self.otherwise(request)
        if step.gate:
            step.gate.wait()
        return step

    # A subclass has these three.

    def serves(self, path):
        raise NotImplementedError

    def is_side(self, path, body):
        raise NotImplementedError

    def answer(self, http, path, body, step):
        raise NotImplementedError

    def error_body(self, status):
        return {"error": {"code": status, "message": f"status {status} of the script"}}

    def handler(stand_in):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                stand_in.others.append(f"{self.command} {self.path}")
                self.send_json(404, stand_in.error_body(404))

            do_HEAD = do_GET

            def do_POST(self):
                body = json.loads(self.read_body() or b"{}") if stand_in.serves(self.path) else {}
                try:
                    if not stand_in.serves(self.path):
                        self.read_body()
                        stand_in.others.append(f"POST {self.path}")
                        return self.send_json(404, stand_in.error_body(404))
                    step = stand_in.take(self.path, body)
                    if step.status:
                        return self.send_json(step.status, stand_in.error_body(step.status), step.retry_after)
                    stand_in.answer(self, self.path, body, step)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # The program has ended or was interrupted.
                self.close_connection = True

            def read_body(self):
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def send_json(self, status, value, retry_after=None):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                if retry_after is not None:
                    self.send_header("retry-after", str(retry_after))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def begin_events(self):
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()

            def send_event(self, value, name=None):
                head = f"event: {name}\n" if name else ""
                self.wfile.write(f"{head}data: {json.dumps(value)}\n\n".encode())
                self.wfile.flush()

        return Handler


def pieces(text, size=24):
    """Splits a text as a model streams it."""
    return [text[at : at + size] for at in range(0, len(text), size)]
