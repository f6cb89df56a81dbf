// Makes spans with OpenTelemetry's SDK for JavaScript, prints each as it made it, and exports all.
//
//     otel.js grpc|http|json|zipkin ENDPOINT TRACES
//
// Half of the traces are made, then it prints "half" and waits for a line of its standard input;
// the rest is made, and "rest" is printed before all are flushed. Every other line is a span as
// JSON. Fails if the SDK says that it could not export everything.
'use strict';

const { SpanKind, SpanStatusCode, context, trace } = require('@opentelemetry/api');
const { BatchSpanProcessor, NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');
const { resourceFromAttributes } = require('@opentelemetry/resources');

const [how, endpoint, traces] = process.argv.slice(2);
const exporters = {
  grpc: () => {
    const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-grpc');
    return new OTLPTraceExporter({ url: endpoint, timeoutMillis: 60_000 });
  },
  http: () => {
    const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-proto');
    const url = `${endpoint}/v1/traces`;
    return new OTLPTraceExporter({ url, timeoutMillis: 60_000, compression: 'gzip' });
  },
  json: () => {
    const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-http');
    return new OTLPTraceExporter({ url: `${endpoint}/v1/traces`, timeoutMillis: 60_000 });
  },
  zipkin: () => {
    const { ZipkinExporter } = require('@opentelemetry/exporter-zipkin');
    return new ZipkinExporter({ url: `${endpoint}/api/v2/spans` });
  },
};

// JavaScript has one kind of number; its exporter sends whole ones as integers.
function value(given) {
  if (typeof given === 'boolean') return { bool: given };
  if (typeof given === 'string') return { text: given };
  if (typeof given === 'number') {
    return Number.isInteger(given) ? { int: String(given) } : { double: given };
  }
  return { list: given.map(value) };
}

function attributes(given) {
  const all = Object.entries(given ?? {}).map(([key, each]) => [key, value(each)]);
  return Object.fromEntries(all);
}

const time = ([seconds, nanos]) => String(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));

class Printer {
  onStart() {}
  onEnd(span) {
    const { traceId, spanId, traceState } = span.spanContext();
    const line = {
      origin: traceId,
      id: spanId,
      parent: span.parentSpanContext?.spanId ?? '',
      state: traceState?.serialize() ?? '',
      name: span.name,
      kind: SpanKind[span.kind],
      start: time(span.startTime),
      end: time(span.endTime),
      attributes: attributes(span.attributes),
      events: span.events.map((event) => ({
        name: event.name,
        at: time(event.time),
        attributes: attributes(event.attributes),
      })),
      links: span.links.map((link) => ({
        origin: link.context.traceId,
        id: link.context.spanId,
        attributes: attributes(link.attributes),
      })),
      status: [SpanStatusCode[span.status.code], span.status.message ?? ''],
      scope: [span.instrumentationScope.name, span.instrumentationScope.version ?? ''],
      resource: attributes(span.resource.attributes),
    };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
  async forceFlush() {}
  async shutdown() {}
}

let failure;
const exporter = exporters[how]();
const watched = {
  export(spans, done) {
    exporter.export(spans, (result) => {
      failure ??= result.error;
      done(result);
    });
  },
  forceFlush: () => exporter.forceFlush?.(),
  shutdown: () => exporter.shutdown(),
};
const batch = new BatchSpanProcessor(watched, {
  maxQueueSize: 100_000,
  scheduledDelayMillis: 100,
  exportTimeoutMillis: 60_000,
});
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ 'service.name': `javascript-${how}`, ratio: 1.5 }),
  spanProcessors: [new Printer(), batch],
});
const tracer = provider.getTracer('shop', '1.2.3');
let last;

function child(parent, name, options, work = () => {}) {
  const span = tracer.startSpan(name, options, trace.setSpan(context.active(), parent));
  work(span);
  span.end();
}

// A trace of a request, a call, and the work that it caused.
function make(number) {
  const links = last ? [{ context: last, attributes: { why: 'the request before', n: number } }] : [];
  const root = tracer.startSpan('GET /', { kind: SpanKind.SERVER, links });
  last = root.spanContext();
  root.setAttributes({
    text: `höchst \u2603 ${'x'.repeat(number % 50)}`,
    int: -(2 ** 52) + number,
    double: number / 3 + 0.1,
    bool: number % 2 === 0,
    texts: ['a', '', 'ü'],
    ints: [1, 2 ** 52, number],
    doubles: [0.1, -1.5e-300],
    bools: [true, false],
  });
  root.addEvent('cache miss', { key: `k${number}`, size: number });
  root.addEvent('retry');
  child(root, 'POST /orders', { kind: SpanKind.CLIENT }, (call) => {
    call.setAttribute('http.response.status_code', 500);
    call.setStatus({ code: SpanStatusCode.ERROR, message: `answer ${number} was 500` });
  });
  child(root, 'publish', { kind: SpanKind.PRODUCER }, (sent) => {
    sent.setStatus({ code: SpanStatusCode.OK });
  });
  child(root, 'count', {});
  root.end();
}

async function main() {
  const half = Math.floor(traces / 2);
  for (let number = 0; number < half; number += 1) make(number);
  console.log('half');
  await new Promise((resolve) => process.stdin.once('data', resolve));
  process.stdin.destroy();
  for (let number = half; number < traces; number += 1) make(number);
  console.log('rest');
  await provider.forceFlush();
  await provider.shutdown();
  if (failure) throw failure;
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
