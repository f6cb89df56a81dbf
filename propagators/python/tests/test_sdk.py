"""The propagator with the real SDK: what goes over the wire, and what spans export."""

import os
import unittest
from unittest import mock

from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from selvedge_propagator import SelvedgePropagator, Stack


def origin_of(headers):
    return headers["traceparent"].split("-")[1]


def parent_of(headers):
    return bytes.fromhex(headers["traceparent"].split("-")[2])


def members_of(headers):
    return dict(member.split("=", 1) for member in headers.get("tracestate", "").split(",") if member)


def stack_of(headers):
    return Stack.parse(members_of(headers).get("sv", ""), origin_of(headers))


class Service:
    """A process with an SDK of its own."""

    def __init__(self, propagator=None):
        self.propagator = propagator or SelvedgePropagator()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    def call(self, received, internal=0, client=True):
        """Handles a request, and makes a call from within `internal` nested internal spans;
        returns what the call sends."""
        context = self.propagator.extract(received)
        kinds = [SpanKind.SERVER] + [SpanKind.INTERNAL] * internal + [SpanKind.CLIENT] * client
        spans = []
        for kind in kinds:
            spans.append(self.tracer.start_span(kind.name, context=context, kind=kind))
            context = trace.set_span_in_context(spans[-1], context)
        sent = {}
        self.propagator.inject(sent, context)
        for span in reversed(spans):
            span.end()
        return sent

    def spans(self):
        return {span.name: span for span in self.exporter.get_finished_spans()}


def plain():
    return Service(TraceContextTextMapPropagator())


class Sdk(unittest.TestCase):
    def test_each_process_adds_its_call_and_no_internal_span(self):
        services = [Service() for _ in range(4)]
        headers, calls = {}, []
        for depth, service in enumerate(services):
            headers = service.call(headers, internal=depth)
            calls.append(parent_of(headers)[:4])
            self.assertEqual(stack_of(headers), Stack(depth + 1, tuple(calls)))
            self.assertEqual(service.spans()["CLIENT"].context.span_id.to_bytes(8, "big")[:4], calls[-1])

    def test_the_stack_keeps_the_newest(self):
        headers, calls = {}, []
        for _ in range(9):
            headers = Service(SelvedgePropagator(ids=3)).call(headers)
            calls.append(parent_of(headers)[:4])
        self.assertEqual(stack_of(headers), Stack(9, tuple(calls[-3:])))

    def test_every_span_of_a_process_exports_what_the_process_received(self):
        first, second = Service(), Service()
        headers = first.call({})
        second.call(headers, internal=2)
        for span in second.exporter.get_finished_spans():
            self.assertEqual(span.context.trace_state.to_header(), headers["tracestate"])
        for span in first.exporter.get_finished_spans():
            self.assertEqual(span.context.trace_state.to_header(), "")

    def test_a_hop_that_takes_no_part_is_named_by_the_next(self):
        first = Service().call({})
        between = plain().call(first)
        self.assertEqual(between["tracestate"], first["tracestate"])
        third = Service()
        sent = third.call(between, internal=1)
        ids = (parent_of(first)[:4], parent_of(between)[:4], parent_of(sent)[:4])
        self.assertEqual(stack_of(sent), Stack(3, ids))
        # What it received is exported as it came, so the hop between shows; the note stays inside.
        exported = third.spans()["SERVER"].context.trace_state
        self.assertEqual(exported["sv"], members_of(first)["sv"])
        self.assertNotIn("svp", members_of(sent))

    def test_behind_a_process_without_it_the_stack_begins_with_the_caller(self):
        before = plain().call({})
        self.assertEqual(before.get("tracestate"), None)
        sent = Service().call(before, internal=1)
        self.assertEqual(stack_of(sent), Stack(2, (parent_of(before)[:4], parent_of(sent)[:4])))

    def test_a_damaged_member_is_as_none(self):
        before = Service().call({})
        value = members_of(before)["sv"]
        before["tracestate"] = "sv=" + value[:5] + ("A" if value[5] != "A" else "B") + value[6:]
        sent = Service().call(before)
        self.assertEqual(stack_of(sent), Stack(2, (parent_of(before)[:4], parent_of(sent)[:4])))

    def test_without_a_client_span_the_span_that_called_enters(self):
        first = Service().call({})
        second = Service()
        sent = second.call(first, client=False)
        server = second.spans()["SERVER"].context.span_id.to_bytes(8, "big")
        self.assertEqual(stack_of(sent), Stack(2, (parent_of(first)[:4], server[:4])))

    def test_a_context_passed_through_is_unchanged(self):
        first = Service().call({})
        for received in (first, plain().call(first), plain().call({})):
            sent = {}
            SelvedgePropagator().inject(sent, SelvedgePropagator().extract(received))
            self.assertEqual(sent, received)

    def test_unsampled_calls_stay_in_the_stack(self):
        first = Service().call({})
        first["traceparent"] = first["traceparent"][:-2] + "00"
        second = Service()
        sent = second.call(first)
        self.assertEqual(second.exporter.get_finished_spans(), ())
        self.assertEqual(stack_of(sent), Stack(2, (parent_of(first)[:4], parent_of(sent)[:4])))

    def test_other_systems_members_stay_and_the_list_stays_within_its_limit(self):
        first = Service().call({})
        others = [f"m{n}=v{n}" for n in range(31)]
        full = {**first, "tracestate": ",".join([*others, first["tracestate"]])}
        sent = Service().call(full)
        self.assertEqual(sent["tracestate"].split(",")[1:], others)
        # Without `sv` there are 32 already, and a note besides: the oldest go.
        full = {**first, "tracestate": ",".join([*others, "m31=v31"])}
        service = Service()
        sent = service.call(full)
        self.assertEqual(sent["tracestate"].split(",")[1:], others)
        self.assertEqual(len(service.spans()["SERVER"].context.trace_state), 32)
        self.assertIsNotNone(stack_of(sent))

    def test_anothers_note_is_not_believed(self):
        first = Service().call({})
        received = {**first, "tracestate": first["tracestate"] + ",svp=1111111111111111"}
        sent = Service().call(received)
        self.assertEqual(stack_of(sent), Stack(2, (parent_of(first)[:4], parent_of(sent)[:4])))
        self.assertNotIn("svp", members_of(sent))

    def test_nothing_or_bad_headers_are_a_root(self):
        for received in ({}, {"traceparent": "no"}, {"tracestate": "sv=1"}):
            sent = Service().call(received)
            self.assertEqual(stack_of(sent), Stack(1, (parent_of(sent)[:4],)))
        sent = {}
        SelvedgePropagator().inject(sent, trace.set_span_in_context(trace.INVALID_SPAN))
        self.assertEqual(sent, {})

    def test_headers_that_keep_every_value_get_each_once(self):
        class Appending:
            def set(self, carrier, key, value):
                carrier.append((key, value))

        service = Service()
        span = service.tracer.start_span("call", kind=SpanKind.PRODUCER)
        sent = []
        service.propagator.inject(sent, trace.set_span_in_context(span), Appending())
        self.assertEqual(sorted(key for key, _ in sent), ["traceparent", "tracestate"])

    def test_the_longest_member_stays_below_256_characters(self):
        headers = {}
        for _ in range(20):
            headers = Service(SelvedgePropagator(ids=16, id_bytes=8)).call(headers)
        self.assertLess(len(members_of(headers)["sv"]), 256)
        self.assertEqual(len(stack_of(headers).ids), 16)

    def test_sizes_come_from_arguments_then_the_environment(self):
        with mock.patch.dict(os.environ, {"OTEL_SELVEDGE_IDS": "2", "OTEL_SELVEDGE_ID_BYTES": "8"}):
            headers = {}
            for _ in range(3):
                headers = Service(SelvedgePropagator()).call(headers)
            self.assertEqual([len(id) for id in stack_of(headers).ids], [8, 8])
        for ids in ("0", "17", "six", "-1"):
            with mock.patch.dict(os.environ, {"OTEL_SELVEDGE_IDS": ids}):
                with self.assertRaisesRegex(ValueError, "OTEL_SELVEDGE_IDS"):
                    SelvedgePropagator()
        with self.assertRaises(ValueError):
            SelvedgePropagator(id_bytes=9)

    def test_the_environment_variable_finds_it_by_its_name(self):
        with mock.patch.dict(os.environ, {"OTEL_PROPAGATORS": "selvedge,baggage"}):
            found = propagate._load_propagators()
        self.assertIn("SelvedgePropagator", [type(p).__name__ for p in found._propagators])
        self.assertEqual(SelvedgePropagator().fields, {"traceparent", "tracestate"})


if __name__ == "__main__":
    unittest.main()
