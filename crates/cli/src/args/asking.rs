//! Commands that ask a running Selvedge, or read what one left.

use std::path::PathBuf;

use clap::Args;
use selvedge_identity::{Origin, ServerName, SessionId};

/// What every command that asks a running Selvedge, and prints, takes.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    /// The admin address of the running Selvedge.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8090")]
    pub(crate) admin: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("wanted").required(true).multiple(true)))]
pub(crate) struct Fetch {
    /// Ask this server, however it reports (repeatable). Without one, all are asked that report on
    /// a period or on demand.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Vec<ServerName>,
    /// The entries of this request.
    #[arg(long, value_name = "ORIGIN", group = "wanted", conflicts_with_all = ["session", "from", "to"])]
    pub(crate) origin: Option<Origin>,
    /// The entries of this visit.
    #[arg(long, value_name = "ID", group = "wanted", conflicts_with_all = ["from", "to"])]
    pub(crate) session: Option<SessionId>,
    /// The entries that began at or after this time (RFC 3339), on the server's clock.
    #[arg(long, value_name = "TIME", group = "wanted")]
    pub(crate) from: Option<String>,
    /// The entries that began before this time (RFC 3339).
    #[arg(long, value_name = "TIME", group = "wanted")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// The request's origin.
    pub(crate) origin: Origin,
    /// Show what is in the repository; ask no server for what it holds back.
    #[arg(long, conflicts_with = "from")]
    pub(crate) no_fetch: bool,
    /// Build it from these journals, instead of asking (repeatable).
    #[arg(long, value_name = "DIR", num_args = 1..)]
    pub(crate) from: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// The visit's id.
    pub(crate) id: SessionId,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Diagnose {
    /// The request's origin.
    pub(crate) origin: Origin,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Search {
    /// Only requests that this service took part in.
    #[arg(long)]
    pub(crate) service: Option<String>,
    /// Only requests with this operation, as in `POST /orders`.
    #[arg(long)]
    pub(crate) operation: Option<String>,
    /// Only requests that took at least this long, as in `10ms`.
    #[arg(long, value_name = "DURATION")]
    pub(crate) min_duration: Option<String>,
    /// Only requests that took at most this long.
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<String>,
    /// Only requests with an error.
    #[arg(long)]
    pub(crate) error: bool,
    /// Only requests with this attribute, as in `region:north` (repeatable).
    #[arg(long, value_name = "KEY:VALUE")]
    pub(crate) attribute: Vec<String>,
    /// Only requests with this flag, as in `inferred` (repeatable).
    #[arg(long)]
    pub(crate) flag: Vec<String>,
    /// Only requests of this visit.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Only requests of this client.
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// Only requests that started at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only requests that started before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// How many to list at most.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// A journal's folder, or one of its files.
    pub(crate) path: PathBuf,
    /// Only entries of this visit.
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// Print JSON, an entry a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Files of spans: OTLP as JSON (also many batches, one a line) or protobuf, Zipkin v2 JSON,
    /// Jaeger JSON. What a file is, it says itself.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Show the trees here, with no Selvedge running, and keep nothing.
    #[arg(long, conflicts_with = "admin")]
    pub(crate) tree: bool,
    #[command(flatten)]
    pub(crate) asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Transactions {
    /// Show the dead letters of this rule.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Try the rule's dead letter at this position (`server/epoch/sequence`) again.
    #[arg(long, value_name = "POSITION", requires = "rule")]
    pub(crate) retry: Option<String>,
    /// Go on behind this dead letter: the `next` of an earlier answer.
    #[arg(
        long,
        value_name = "POSITION",
        requires = "rule",
        conflicts_with = "retry"
    )]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
}
