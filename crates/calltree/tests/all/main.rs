//! Tests of call trees against made-up systems, whose truth is known.

mod whole;
mod world;
