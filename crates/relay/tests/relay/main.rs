//! The relay over real sockets.

mod common;
mod relaying;
mod serving;
mod strict;
