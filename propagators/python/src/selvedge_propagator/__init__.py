"""W3C Trace Context that also carries the request stack, for OpenTelemetry's Python SDK.

A span names its parent only, so a lost service's spans cut the tree in two. This propagator adds
one member, `sv`, to the `tracestate` header: the depth of the call and the ids of the newest calls
on the way to it. Services that know nothing of it pass it on unchanged, and the SDK exports it on
every span of the process that received it; the tree is rebuilt from that.

Whoever uses it in place of `tracecontext` sends the same headers as before. Limits that the SDKs
enforce by dropping the whole header are kept: 32 members, 256 characters a value, no `=` in it.
The format is drawn in Selvedge's `docs/formats/request-identifier.md`.
"""

from .propagator import SelvedgePropagator
from .stack import Stack

__all__ = ["SelvedgePropagator", "Stack"]
