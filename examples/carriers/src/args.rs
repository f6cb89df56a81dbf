//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Services that call each other over every carrier of the request identifier.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) role: Role,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Takes orders over HTTP, and asks the others.
    Desk(Desk),
    /// Knows prices: over gRPC, and over HTTP.
    Prices(Prices),
    /// Works on messages of the broker.
    Consumer(Consumer),
    /// Takes lines over TCP, whose identifiers come beside them or by reference.
    Printer(Printer),
    /// Books orders over SOAP, without looking at HTTP headers.
    Ledger(Ledger),
}

/// What makes a process a member of the fleet.
#[derive(Debug, Args)]
pub(crate) struct Member {
    /// The server's name, unique in the fleet.
    #[arg(long)]
    pub(crate) name: String,
    /// The hub of the back-end network.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) bus: SocketAddr,
    /// The folder of its journal, and of the fleet's `keys`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Write the addresses to this file, as JSON, once it serves.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Desk {
    #[command(flatten)]
    pub(crate) member: Member,
    /// The price service over gRPC.
    #[arg(long, value_name = "URL")]
    pub(crate) grpc: Option<String>,
    /// The price service over HTTP.
    #[arg(long, value_name = "URL")]
    pub(crate) http: Option<String>,
    /// The broker.
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// The printer.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) printer: Option<SocketAddr>,
    /// Where the printer takes identifiers, in datagrams.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) beside: Option<SocketAddr>,
    /// The store of identifiers by reference.
    #[arg(long, value_name = "URL")]
    pub(crate) references: Option<String>,
    /// The ledger.
    #[arg(long, value_name = "URL")]
    pub(crate) ledger: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Prices {
    #[command(flatten)]
    pub(crate) member: Member,
}

#[derive(Debug, Args)]
pub(crate) struct Consumer {
    #[command(flatten)]
    pub(crate) member: Member,
    /// The broker.
    #[arg(long, value_name = "URL")]
    pub(crate) nats: String,
    /// The price service over gRPC, asked for each message.
    #[arg(long, value_name = "URL")]
    pub(crate) grpc: Option<String>,
    /// Work on so many messages as one.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Printer {
    #[command(flatten)]
    pub(crate) member: Member,
    /// The store of identifiers by reference.
    #[arg(long, value_name = "URL")]
    pub(crate) references: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Ledger {
    #[command(flatten)]
    pub(crate) member: Member,
}
