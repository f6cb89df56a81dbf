#!/usr/bin/env python3
"""A content server of the interactive-TV shop, in Python's standard library.

It proves that a server in any language joins the fabric: a sidecar stands before it and does all
the tracking. Two things are asked of the program itself:

- it makes its calls to other services through the sidecar's egress address, and copies one
  header, `selvedge-request`, from the request that it is handling onto each of them;
- what the visit did on other servers it asks the sidecar for, at the same address.

It keeps no orders and no carts itself: the sidecar's memory of the session knows them, whichever
server took them. Run it as README.md says.
"""

import argparse
import http.client
import json
import os
import re
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

BODY_BYTES_MAX = 16 * 1024
NAME_BYTES_MAX = 64
QUANTITY_MAX = 100
CHOICES_MAX = 1000
SCHEDULE_MAX = 100
CALL_SECONDS_MAX = 10
# It becomes a part of a path: nothing that could mean another path may pass.
ITEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The interactive-TV shop, in Python</title>
<body><h1>The interactive-TV shop, in Python</h1>
<p>This content server is written in Python; a sidecar does its tracking.
<a href="/channel">What is on</a>, <a href="/orders">your orders</a>.</p></body></html>
"""


class Refusal(Exception):
    """An answer that says no: a status, a code and a sentence."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Fabric:
    """The sidecar, as its server sees it: calls to other services, and what it knows."""

    def __init__(self, egress):
        self.egress = egress

    def call(self, request, method, service, path, body=None):
        """Calls another service by its name in the sidecar's routes. `request` is the value of
        `selvedge-request` of the request being handled."""
        return self._send(request, method, f"http://{service}{path}", body)

    def history(self, request):
        """What the whole fleet did in the visit so far, in order."""
        said = self._send(request, "GET", "/selvedge/v1/session/history", None)
        return said["entries"]

    def state(self, request, name):
        """The values that are left of a name of the session's state, the one that is shown first:
        more than one are of requests that did not know of each other."""
        said = self._send(request, "GET", f"/selvedge/v1/session/state/{name}", None)
        return [candidate["value"] for candidate in said["candidates"]]

    def set_state(self, request, name, value):
        """Keeps a value for the session's next requests, whichever server takes them."""
        self._send(request, "PUT", f"/selvedge/v1/session/state/{name}", value)

    def action(self, request, name, **attributes):
        """Records an action with an ordering id of its own (beside the request's)."""
        body = {"name": name, "attributes": attributes}
        self._send(request, "POST", "/selvedge/v1/action", body)

    def broadcast(self, request, name, content_type, content):
        """Sends content to everybody at once, with a head for the request's own session."""
        headers = {"content-type": content_type, "selvedge-action": name}
        self._send(request, "POST", "/selvedge/v1/broadcast", content, headers)

    def _send(self, request, method, target, body, headers=None):
        headers = headers or {"content-type": "application/json"}
        if request:
            headers["selvedge-request"] = request
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        connection = http.client.HTTPConnection(self.egress, timeout=CALL_SECONDS_MAX)
        try:
            connection.request(method, target, text, headers)
            answer = connection.getresponse()
            said = json.loads(answer.read(1024 * 1024) or "null")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refusal(502, "service_failed", f"{method} {target} failed: {error}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            known = {404: "unknown_item", 402: "payment_refused", 409: "out_of_stock"}
            message = ((said or {}).get("error") or {}).get("message") or f"{target} said no"
            status = answer.status if answer.status in known else 502
            raise Refusal(status, known.get(status, "service_failed"), message)
        return said


class Shop:
    """What this server does, and the little that it keeps: votes it took, content it scheduled."""

    def __init__(self, name, fabric):
        self.name, self.fabric = name, fabric
        self.lock = threading.Lock()
        self.votes, self.schedule, self.scheduled = {}, [], 0

    def place_order(self, request, wanted):
        item, quantity = wanted.get("item"), wanted.get("quantity", 1)
        if not isinstance(item, str) or not isinstance(quantity, int) or isinstance(quantity, bool):
            raise Refusal(400, "bad_request", 'an order is {"item": text, "quantity": number}')
        if not 1 <= quantity <= QUANTITY_MAX:
            raise Refusal(400, "bad_request", f"the quantity must be 1 to {QUANTITY_MAX}")
        if not ITEM.fullmatch(item):
            raise Refusal(404, "unknown_item", f"there is no item {item[:64]!r} in the catalogue")
        order = "o" + secrets.token_hex(8)
        price = self.fabric.call(request, "GET", "catalogue", "/items/" + quote(item))["price_cents"]
        lines = {"order": order, "item": item, "quantity": quantity}
        reserved = self.fabric.call(request, "POST", "stock", "/reservations", lines)
        charge = {"order": order, "amount_cents": price * quantity}
        try:
            paid = self.fabric.call(request, "POST", "payment", "/charges", charge)
        except Refusal:
            back = {"item": item, "quantity": quantity}
            self.fabric.call(request, "POST", "stock", "/releases", back)
            raise
        return 201, {
            "order": {
                "id": order,
                "item": item,
                "quantity": quantity,
                "total_cents": price * quantity,
                "payment": paid["payment"],
                "reservation": reserved["reservation"],
            }
        }

    def cart(self, request):
        return 200, {"cart": self._cart(request)}

    def put_in_cart(self, request, line):
        item, quantity = line.get("item"), line.get("quantity")
        if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 <= quantity <= QUANTITY_MAX:
            raise Refusal(400, "bad_request", f"the quantity must be 0 to {QUANTITY_MAX}")
        if not isinstance(item, str) or not ITEM.fullmatch(item):
            raise Refusal(404, "unknown_item", f"there is no item {str(item)[:64]!r} in the catalogue")
        cart = self._cart(request)
        cart[item] = quantity
        cart = {item: quantity for item, quantity in cart.items() if quantity}
        self.fabric.set_state(request, "cart", cart)
        return 200, {"cart": cart}

    def _cart(self, request):
        """Of several carts all that is in any, of each item the greatest quantity."""
        cart = {}
        for other in self.fabric.state(request, "cart"):
            for item, quantity in (other or {}).items():
                cart[item] = max(quantity, cart.get(item, 0))
        return cart

    def orders(self, request):
        done = [e for e in self.fabric.history(request)
                if e["action"] == "POST /orders" and e["outcome"] == "ok"]
        bodies = [entry["response"]["body"] for entry in done]
        return 200, {"orders": [body["order"] for body in bodies if body]}

    def vote(self, _request, wanted):
        choice = name(wanted, "choice")
        with self.lock:
            if choice in self.votes or len(self.votes) < CHOICES_MAX:
                self.votes[choice] = self.votes.get(choice, 0) + 1
        return 200, {"choice": choice}

    def broadcast(self, request, wanted):
        content = name(wanted, "content")
        self.fabric.action(request, "accept content", content=content)
        with self.lock:
            self.scheduled += 1
            scheduled = {"content": content, "number": self.scheduled}
            self.schedule = (self.schedule + [scheduled])[-SCHEDULE_MAX:]
        told = json.dumps({"now": scheduled})
        self.fabric.broadcast(request, "broadcast content", "application/json", told)
        return 202, {"scheduled": scheduled}

    def channel(self, request):
        items = self.fabric.call(request, "GET", "catalogue", "/items")["items"]
        with self.lock:
            schedule, votes = list(self.schedule), dict(self.votes)
        now = schedule[0] if schedule else None
        return 200, {"now": now, "schedule": schedule, "votes": votes, "items": items}


def name(wanted, what):
    text = wanted.get(what)
    if not isinstance(text, str) or not text.strip() or len(text.encode()) > NAME_BYTES_MAX:
        raise Refusal(400, "bad_request", f"the {what} must have 1 to {NAME_BYTES_MAX} bytes")
    return text


class Handler(BaseHTTPRequestHandler):
    """One connection from the sidecar."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    # The head and the body of an answer are one packet.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    shop = None

    def do_GET(self):
        routes = {"/orders": self.shop.orders, "/cart": self.shop.cart, "/channel": self.shop.channel}
        path = self.path.split("?")[0]
        if path == "/":
            self.answer(200, PAGE.encode(), "text/html; charset=utf-8")
        elif path in routes:
            self.say(lambda: routes[path](self.headers.get("selvedge-request")))
        else:
            self.say(self.nothing_here)

    def do_POST(self):
        routes = {
            "/orders": self.shop.place_order,
            "/cart": self.shop.put_in_cart,
            "/vote": self.shop.vote,
            "/broadcast": self.shop.broadcast,
        }
        route = routes.get(self.path.split("?")[0])
        if route is None:
            self.close_connection = True  # its body is not read
            self.say(self.nothing_here)
        else:
            self.say(lambda: route(self.headers.get("selvedge-request"), self.body()))

    def nothing_here(self):
        raise Refusal(404, "not_found", "there is nothing here: try /, /orders, /cart or /channel")

    def body(self):
        length = self.headers.get("content-length", "")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            self.close_connection = True
            raise Refusal(413, "too_long", f"send at most {BODY_BYTES_MAX} bytes, with their length")
        try:
            wanted = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refusal(400, "bad_request", f"the body is not JSON: {error}") from error
        if not isinstance(wanted, dict):
            raise Refusal(400, "bad_request", "the body must be a JSON object")
        return wanted

    def say(self, what):
        try:
            status, said = what()
            said["server"] = self.shop.name
        except Refusal as refusal:
            status = refusal.status
            said = {"error": {"code": refusal.code, "message": refusal.message}}
        self.answer(status, json.dumps(said).encode(), "application/json")

    def answer(self, status, body, content_type):
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def version_string(self):
        return self.shop.name

    def log_message(self, *_):
        """The sidecar logs."""


def address(text):
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text} is not HOST:PORT")
    return host.strip("[]"), int(port)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--listen", type=address, default=("127.0.0.1", 9100), metavar="HOST:PORT",
                           help="where the sidecar reaches this server (default 127.0.0.1:9100)")
    arguments.add_argument("--egress", default=os.environ.get("SELVEDGE_EGRESS", "127.0.0.1:7610"),
                           metavar="HOST:PORT", help="the sidecar's egress address "
                           "(default $SELVEDGE_EGRESS, else 127.0.0.1:7610)")
    arguments.add_argument("--name", default="content-python", help="the server's name in answers")
    given = arguments.parse_args()
    Handler.shop = Shop(given.name, Fabric(given.egress))
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 128
    try:
        server = ThreadingHTTPServer(given.listen, Handler)
    except OSError as error:
        sys.exit(f"cannot listen on {given.listen[0]}:{given.listen[1]}: {error}")
    print("listening on %s:%d" % server.server_address[:2], flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
