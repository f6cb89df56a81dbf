//! Monitors: processes on the back-end network that watch for something and act on it.
//!
//! [`threshold`] is the pure part of the threshold monitor: rules, what they count, and when a
//! count crosses its level.
//!
//! Requirements: B6, B7.

pub mod threshold;
