#!/usr/bin/env python3
"""Jobs over a channel of the application's own, in Python's standard library: JSON lines over TCP.

The sidecar never sees these lines. The `sender`, an HTTP server behind its sidecar, asks it what to
attach to a job, and tells it how the job ended; the `worker` hands in what came with a job, and
tells when it is done. So any program carries identifiers over any channel, without a library:

    POST /jobs/pairs      the identifier rides in the line, as pairs
    POST /jobs/separate   it follows on a connection of its own, as a message about the job
    POST /jobs/reference  the line holds a token, the identifier lies in a store
"""

import argparse
import http.client
import json
import secrets
import socket
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LINE_BYTES_MAX = 16 * 1024
SECONDS_MAX = 10


class Sidecar:
    """The local API of the sidecar."""

    def __init__(self, egress):
        self.egress = egress

    def tell(self, question, body, request=None):
        """Asks or tells it something; `request` names the request that this is about."""
        headers = {"content-type": "application/json"}
        if request:
            headers["selvedge-request"] = request
        text = body if isinstance(body, str) else json.dumps(body)
        connection = http.client.HTTPConnection(self.egress, timeout=SECONDS_MAX)
        try:
            connection.request("POST", "/selvedge/v1/" + question, text, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read(LINE_BYTES_MAX) or "null")
        finally:
            connection.close()
        if answer.status >= 400:
            raise OSError(said["error"]["message"])
        return said


class Sender(BaseHTTPRequestHandler):
    """An HTTP server whose requests become jobs."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    sidecar, worker = None, None

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        how, job = self.path.rpartition("/")[2], "job-" + secrets.token_hex(8)
        new = {"peer": "worker", "method": "QUEUE", "path": "jobs", "session": True}
        if how == "separate":
            new["about"] = job
        elif how == "reference":
            new["reference"] = True
        call = self.sidecar.tell("call", new, self.headers["selvedge-request"])
        line = {"job": job, "headers": {}}
        if how == "pairs":
            line["headers"] = call["headers"]
        elif how == "reference":
            line["headers"] = {"selvedge-reference": call["reference"]}
        try:
            with socket.create_connection(self.worker, SECONDS_MAX) as queue:
                lines = queue.makefile("rw")
                send(lines, line)
                if how == "separate":
                    with socket.create_connection(self.worker, SECONDS_MAX) as other:
                        send(other.makefile("rw"), {"identifier": call["separate"]})
                done = json.loads(lines.readline(LINE_BYTES_MAX))
            end, status = {"status": 200}, 200
        except (OSError, ValueError) as error:
            done, end, status = {"failed": str(error)}, {"error": str(error)}, 502
        self.sidecar.tell("call/" + call["call"], end)
        body = json.dumps(done).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The sidecar logs."""


class Worker(socketserver.StreamRequestHandler):
    """Takes jobs, a line each."""

    timeout = 60
    sidecar = None

    def handle(self):
        line = self.rfile.readline(LINE_BYTES_MAX)
        while line:
            self.take(json.loads(line))
            line = self.rfile.readline(LINE_BYTES_MAX)

    def take(self, line):
        if "identifier" in line:
            self.sidecar.tell("separate", line["identifier"])
            return
        new = {"method": "QUEUE", "path": "jobs", "headers": line["headers"]}
        if not line["headers"]:
            new |= {"about": line["job"], "wait_ms": 5000}
        received = self.sidecar.tell("request", new)
        # From here on the job is a request like any other: it can record what it does.
        work = {"name": "work", "attributes": {"job": line["job"]}}
        self.sidecar.tell("action", work, received["request"])
        self.sidecar.tell("request/" + received["id"], {"status": 200})
        done = json.dumps({"done": line["job"], "request": received["request"]})
        self.wfile.write(done.encode() + b"\n")


def send(lines, line):
    lines.write(json.dumps(line) + "\n")
    lines.flush()


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("role", choices=["sender", "worker"])
    arguments.add_argument("--egress", default="127.0.0.1:7610", metavar="HOST:PORT",
                           help="the sidecar's egress address")
    arguments.add_argument("--worker", type=address, metavar="HOST:PORT",
                           help="where the sender's jobs go")
    given = arguments.parse_args()
    Sender.sidecar = Worker.sidecar = Sidecar(given.egress)
    Sender.worker = given.worker
    if given.role == "sender":
        ThreadingHTTPServer.daemon_threads = True
        server = ThreadingHTTPServer(("127.0.0.1", 0), Sender)
    else:
        socketserver.ThreadingTCPServer.daemon_threads = True
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Worker)
    print("listening on %s:%d" % server.server_address[:2], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
