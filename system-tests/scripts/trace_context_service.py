#!/usr/bin/env python3
"""The service that W3C's suite for Trace Context asks for, behind a sidecar: it answers a POST of a
JSON list by a POST of each element's `arguments` to its `url`.

It does what any service behind a sidecar does, and no more: its calls go through the sidecar's
egress, and carry the `selvedge-request` that it was given.
"""

import argparse
import http.client
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    egress = ""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        for element in json.loads(body):
            self.call(element["url"], element["arguments"])
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def call(self, url, arguments):
        target = urlsplit(url)
        headers = {
            "content-type": "application/json",
            "host": target.netloc,
            "selvedge-request": self.headers["selvedge-request"],
        }
        connection = http.client.HTTPConnection(self.egress, timeout=5)
        try:
            connection.request("POST", target.path, json.dumps(arguments), headers)
            connection.getresponse().read()
        finally:
            connection.close()

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port")
    parser.add_argument("--egress", required=True, help="host:port")
    args = parser.parse_args()
    Handler.egress = args.egress
    host, port = args.listen.rsplit(":", 1)
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
