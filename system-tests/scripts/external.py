#!/usr/bin/env python3
"""A service of somebody else, for tests: it knows nothing of Selvedge but what `--speaks` says.

Its request says what it shall call: the query's `plan` is a JSON list of hops, `{"to": URL}`, with
`"via": "host:port"` where the call goes through a sidecar's egress. It calls the first and hands
the rest on. It answers, as JSON, with the identifying headers that it received and with the answer
of what it called.

What it speaks: `nothing` (it hands no header on), `native` (it copies `selvedge-request`), `w3c`,
`b3`, `b3-multi` (it gives its call a span id of its own, as a tracer does), `copy` (it copies all
identifying headers as they are).
"""

import argparse
import http.client
import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

NATIVE = ["selvedge-request"]
W3C = ["traceparent", "tracestate"]
B3_MULTI = ["x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"]
ALL = NATIVE + W3C + ["b3"] + B3_MULTI


def onward(speaks, received):
    """The headers of the call that is made while handling a request with these."""
    if speaks == "copy":
        return dict(received)
    if speaks == "native":
        return {name: received[name] for name in NATIVE if name in received}
    span = secrets.token_hex(8)
    if speaks == "w3c" and "traceparent" in received:
        version, trace, _, flags = received["traceparent"].split("-")
        headers = {"traceparent": f"{version}-{trace}-{span}-{flags}"}
        if "tracestate" in received:
            headers["tracestate"] = received["tracestate"]
        return headers
    if speaks == "b3" and "b3" in received:
        trace, parent, *sampled = received["b3"].split("-")
        return {"b3": "-".join([trace, span, (sampled or ["1"])[0], parent])}
    if speaks == "b3-multi" and "x-b3-traceid" in received:
        return {
            "x-b3-traceid": received["x-b3-traceid"],
            "x-b3-spanid": span,
            "x-b3-parentspanid": received["x-b3-spanid"],
            "x-b3-sampled": received.get("x-b3-sampled", "1"),
        }
    return {}


def call(hop, rest, headers):
    """Calls the hop; with the answer's JSON."""
    target = urlsplit(hop["to"])
    address = hop.get("via", target.netloc)
    if "via" in hop:
        headers = {**headers, "selvedge-target": hop["to"]}
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        path = "/" + (f"?plan={quote(json.dumps(rest))}" if rest else "")
        connection.request("GET", path, headers=headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    speaks = "nothing"

    def do_GET(self):
        received = {name: self.headers[name] for name in ALL if name in self.headers}
        said = {"received": received}
        plan = json.loads(parse_qs(urlsplit(self.path).query).get("plan", ["[]"])[0])
        if plan:
            hop, *rest = plan
            said["next"] = call(hop, rest, onward(self.speaks, received))
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speaks", default="nothing")
    args = parser.parse_args()
    Handler.speaks = args.speaks
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
