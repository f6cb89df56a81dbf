"""Starts the three services web -> shop -> stock, sends a request through them, and ends them.

    python run.py [--otlp URL] [--propagator selvedge|tracecontext] [--lose SERVICE] [--requests N]

`--lose shop`: the shop exports no spans, as if its host were gone. Prints the trace ids, each on a
line of its own; `selvedge tree ID` shows what is left.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path


def start(name: str, args: argparse.Namespace, **calls: str) -> "tuple[subprocess.Popen[str], str]":
    """A service, and its URL."""
    environment = {
        **os.environ,
        **calls,
        "OTEL_SERVICE_NAME": name,
        "OTEL_PROPAGATORS": args.propagator,
        "OTEL_EXPORTER_OTLP_ENDPOINT": args.otlp,
        "OTEL_TRACES_EXPORTER": "none" if name in args.lose else "otlp",
    }
    script = Path(__file__).with_name("service.py")
    service = subprocess.Popen(
        [sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True
    )
    url = service.stdout.readline().strip()
    if not url:
        sys.exit(f"{name} did not start")
    return service, url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--otlp", default="http://127.0.0.1:4318", help="where spans go")
    parser.add_argument("--propagator", default="selvedge", choices=["selvedge", "tracecontext"])
    parser.add_argument("--lose", action="append", default=[], choices=["web", "shop", "stock"])
    parser.add_argument("--requests", type=int, default=1)
    args = parser.parse_args()

    services = []
    try:
        stock, stock_url = start("stock", args)
        services.append(stock)
        shop, shop_url = start("shop", args, STOCK=stock_url)
        services.append(shop)
        web, web_url = start("web", args, SHOP=shop_url)
        services.append(web)
        for _ in range(args.requests):
            # No proxy of the environment stands between.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(web_url + "/", timeout=30) as answer:
                print(json.load(answer)["trace"], flush=True)
    finally:
        # Each flushes its spans before it ends.
        for service in services:
            service.terminate()
        for service in services:
            service.wait()


if __name__ == "__main__":
    main()
