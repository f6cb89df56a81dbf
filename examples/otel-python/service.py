"""One service of the example: Flask, with OpenTelemetry's own instrumentation and nothing of ours.

What it is, whom it calls and where its spans go comes from the environment, mostly by the variables
that OpenTelemetry defines: OTEL_SERVICE_NAME, OTEL_PROPAGATORS, OTEL_EXPORTER_OTLP_ENDPOINT,
OTEL_TRACES_EXPORTER (`none`: its spans are lost, while it still passes the headers on). STOCK and
SHOP are the URLs of the services that it calls. It prints its own URL; SIGTERM flushes and ends it.
"""

import os
import signal
import sys
import threading

import requests
from flask import Flask, request
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from werkzeug.serving import make_server

app = Flask(__name__)


@app.get("/")
def web():
    """The web front: one call to the shop."""
    order = requests.get(os.environ["SHOP"] + "/order", timeout=10).json()
    span = trace.get_current_span().get_span_context()
    return {"order": order, "trace": trace.format_trace_id(span.trace_id)}


@app.get("/order")
def shop():
    """The shop: two calls to the stock, the first from within a span of its own."""
    stock = os.environ["STOCK"]
    with trace.get_tracer("shop").start_as_current_span("choose a warehouse"):
        left = requests.get(stock + "/stock?item=kettle", timeout=10).json()
    return {**left, **requests.get(stock + "/reserve?item=kettle", timeout=10).json()}


@app.get("/stock")
def stock():
    return {"item": request.args["item"], "left": 7}


@app.get("/reserve")
def reserve():
    return {"reserved": request.args["item"]}


def main() -> None:
    provider = TracerProvider()
    if os.environ.get("OTEL_TRACES_EXPORTER") != "none":
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FlaskInstrumentor().instrument_app(app)
    RequestsInstrumentor().instrument()

    server = make_server("127.0.0.1", 0, app, threaded=True)
    # `shutdown` waits for the serving thread, which is the one that the signal interrupts.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
    provider.shutdown()


if __name__ == "__main__":
    sys.exit(main())
