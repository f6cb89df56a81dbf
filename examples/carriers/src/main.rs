//! Services that call each other over every carrier of the request identifier (D5).
//!
//! A desk takes orders over HTTP, and asks for each over the channel that its path names: gRPC, a
//! message broker (NATS), plain lines over TCP with the identifier beside them or by reference,
//! SOAP, and HTTP that passes only W3C Trace Context on. Every role is a process of its own and a
//! member of one fleet, so that one request makes one call tree whatever it went over.
//!
//! It is an example of the SDK to read, and the test bed of the carriers; `docs/guide/carriers.md`
//! goes through it.

mod args;
mod desk;
mod fleet;
mod grpc;
mod ledger;
mod lines;
mod messages;
mod prices;

use anyhow::Result;
use clap::Parser;

use crate::args::{Cli, Role};

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.role {
        Role::Desk(args) => desk::run(args).await,
        Role::Prices(args) => prices::run(args).await,
        Role::Consumer(args) => messages::run(args).await,
        Role::Printer(args) => lines::run(args).await,
        Role::Ledger(args) => ledger::run(args).await,
    }
}
