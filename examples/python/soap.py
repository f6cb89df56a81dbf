#!/usr/bin/env python3
"""SOAP services in Python's standard library, behind sidecars that look into envelopes.

Three roles: `desk` takes orders and has them booked, `ledger` books them, and `bus` stands between,
as an enterprise service bus does: it passes envelopes on, and no HTTP header. All that a service
does for tracking is what SOAP asks of it anyway: the header block that it was sent, it sends on.
"""

import argparse
import http.client
import sys
import xml.etree.ElementTree as ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SOAP = "http://www.w3.org/2003/05/soap-envelope"
SHOP = "urn:example:shop"
BLOCK = "{urn:selvedge:request:1}Request"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"
ENVELOPE_BYTES_MAX = 64 * 1024
CALL_SECONDS_MAX = 10


def envelope(name, text, block=None):
    """An envelope with this element in its body, and this block, if any, in its header."""
    root = ElementTree.Element(f"{{{SOAP}}}Envelope")
    if block is not None:
        ElementTree.SubElement(root, f"{{{SOAP}}}Header").append(block)
    body = ElementTree.SubElement(root, f"{{{SOAP}}}Body")
    ElementTree.SubElement(body, f"{{{SHOP}}}{name}").text = text
    return ElementTree.tostring(root, encoding="utf-8")


def post(address, target, host, body):
    """Sends an envelope; nothing but its content type goes with it."""
    connection = http.client.HTTPConnection(address, timeout=CALL_SECONDS_MAX)
    try:
        headers = {"content-type": CONTENT_TYPE, "host": host}
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(ENVELOPE_BYTES_MAX)
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    given = None

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > ENVELOPE_BYTES_MAX:
            self.close_connection = True
            return self.answer(413, envelope("Fault", "too long"))
        body = self.rfile.read(int(length))
        try:
            status, said = getattr(self, self.given.role)(body)
        except ElementTree.ParseError as error:
            status, said = 400, envelope("Fault", str(error))
        except (OSError, http.client.HTTPException) as error:
            status, said = 502, envelope("Fault", str(error))
        return self.answer(status, said)

    def desk(self, body):
        root = ElementTree.fromstring(body)
        header = root.find(f"{{{SOAP}}}Header")
        block = None if header is None else header.find(BLOCK)
        item = root.findtext(f".//{{{SHOP}}}Order", "")
        booking = envelope("Book", item, block)
        return post(self.given.egress, "/soap/book", "ledger", booking)

    def ledger(self, body):
        item = ElementTree.fromstring(body).findtext(f".//{{{SHOP}}}Book", "")
        return 200, envelope("Booked", item)

    def bus(self, body):
        to = urlsplit(self.given.to)
        return post(to.netloc, self.path, to.netloc, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", CONTENT_TYPE)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """The sidecar logs."""


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("role", choices=["desk", "ledger", "bus"])
    arguments.add_argument("--egress", default="127.0.0.1:7610", metavar="HOST:PORT",
                           help="the sidecar's egress address, for the desk")
    arguments.add_argument("--to", default="", metavar="URL", help="where the bus passes envelopes on to")
    Handler.given = arguments.parse_args()
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print("listening on %s:%d" % server.server_address[:2], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
