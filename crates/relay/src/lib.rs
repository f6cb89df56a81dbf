//! Strict HTTP/1 in, pooled HTTP/1 out, bodies streamed: the packet path of gateway and sidecar.
