//! Monitors: processes on the back-end network that watch for something and act on it.
//!
//! The threshold monitor ([`start`]) follows the bus, feeds its rules
//! ([`threshold`], pure), and tells each crossing to its receivers at least once, always under
//! one id ([`Notification`]): to webhooks, over the threshold link ([`link`]) to an encoder, and as
//! entries of a journal to everyone on the bus.
//!
//! The transaction processor ([`transaction`]) carries out what entries ask for, each exactly once.
//!
//! Requirements: B6, B7, B9.

mod books;
mod disk;
mod error;
mod log;
mod notify;
mod outbox;
mod saved;
mod state_file;
mod status;
mod store;
pub mod threshold;
pub mod transaction;
mod watch;

pub use disk::{Aside, Disk};
pub use error::{MonitorError, check};
pub use notify::{ReceiverConfig, link};
pub use outbox::{Notification, Outbox};
pub use status::{GroupStatus, MonitorStatus, RuleStatus, RunningMonitor, StatusAsker};
pub use watch::{MonitorOptions, Now, start, start_on};
