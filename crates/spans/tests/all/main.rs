//! Spans from outside: what is read, what is refused, and the trees that they make.

mod bad_input;
mod encode;
mod lost;
mod observe;
mod pieces;
mod properties;
mod real;
mod state;
mod stored;
mod times;
mod zipkin;
