"""Runs in a pod: a webhook receiver that prints each message as one JSON line: headers and body, as they came."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:
        """Print it."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sys.stdout.write(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body}) + "\n")
        sys.stdout.flush()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the log is the messages."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", 8080), Receiver).serve_forever()
