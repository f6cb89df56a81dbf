//! What is sent between master, replicas and clients: `docs/formats/race.md`.

pub(crate) mod client;
mod frame;
mod read;

pub use client::{
    ASK_MIN, Answer, Ask, COOKIE_LENGTH, ClientFrame, Measured, Outcome, PATH_MAX, Wanted,
};
pub use frame::{
    Echo, FRAME_MAX, Forward, Frame, FrameError, Header, Probe, Report, Sent, Side, Silence,
};
