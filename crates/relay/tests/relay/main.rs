//! The relay over real sockets.

mod common;
mod http2;
mod relaying;
mod serving;
mod strict;
