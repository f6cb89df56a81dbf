//! Roles that run in a process of their own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use selvedge_encoder::{Input, Output};
use selvedge_identity::ServerName;

use super::values::clip;
use super::{BusAddress, duration};
use crate::race::TestClock;

#[derive(Debug, Args)]
pub(crate) struct Encoder {
    /// The transport stream: a file, `-`, or `udp://ADDRESS:PORT[?iface=ADDRESS]`.
    #[arg(long, value_name = "INPUT")]
    pub(crate) input: Input,
    /// Where it goes (repeatable): a file, `-`, `hls://FOLDER`, or
    /// `udp://ADDRESS:PORT[?ttl=N&iface=ADDRESS]`.
    #[arg(long, value_name = "OUTPUT", required = true)]
    pub(crate) output: Vec<Output>,
    /// Play the input file again and again, as one stream.
    #[arg(long)]
    pub(crate) simulate_source: bool,
    /// A clip that comes on in such a file when a broadcast on the bus says that this content is on
    /// now (repeatable).
    #[arg(long, value_name = "CONTENT=FILE.ts", value_parser = clip, requires = "bus")]
    pub(crate) clip: Vec<(String, PathBuf)>,
    /// Read a file at the speed of its clock, also where no output is live.
    #[arg(long)]
    pub(crate) realtime: bool,
    /// Pass on untouched a stream that nothing can be placed in, instead of ending.
    #[arg(long)]
    pub(crate) pass_unsupported: bool,
    /// Where monitors connect. [default: 127.0.0.1:7800]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where health and metrics are served. [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) signal: SignalArgs,
    #[command(flatten)]
    pub(crate) member: Member,
}

/// How indications are placed and HLS is made.
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// An indication is due so much later than its packet.
    #[arg(long, value_name = "TIME", default_value = "40ms", value_parser = duration)]
    pub(crate) lead: Duration,
    /// How often the state of the rules is repeated.
    #[arg(long, value_name = "TIME", default_value = "450ms", value_parser = duration)]
    pub(crate) heartbeat: Duration,
    /// The least that a segment of HLS lasts.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub(crate) hls_segment: Duration,
    /// Segments in a live playlist.
    #[arg(long, value_name = "N", default_value = "10", value_parser = clap::value_parser!(u16).range(3..=10_000))]
    pub(crate) hls_window: u16,
    /// Keep every segment in the playlist.
    #[arg(long)]
    pub(crate) hls_event: bool,
}

/// What a role of its own process needs to be part of a fleet.
#[derive(Debug, Args)]
pub(crate) struct Member {
    /// The server's name, unique in the fleet.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<ServerName>,
    /// Where its journal is kept (in `journals/NAME`).
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The file with the keys that the fleet shares. [default: DATA/keys, made if it is missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The bus: the hub's address, or `nats://HOST:4222` (several with commas). [default: from the
    /// configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bus: Option<BusAddress>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write the addresses to this file, as JSON, once everything serves.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Gateway {
    /// A content server (repeatable).
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Vec<String>,
    /// Where clients connect. [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where the bus hub in the gateway listens, apart from the clients. [default: 127.0.0.1:7600]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bus_listen: Option<SocketAddr>,
    /// Where its own health and metrics are served; with `--repository`, the query API and page.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Run the repository in the same process.
    #[arg(long)]
    pub(crate) repository: bool,
    #[command(flatten)]
    pub(crate) member: Member,
}

#[derive(Debug, Args)]
pub(crate) struct Sidecar {
    /// Your content server.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// Where the gateway connects. [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where your content server sends its outbound calls. [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) egress: Option<SocketAddr>,
    /// Where its own health and metrics are served. [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The service that your content server is, as entries name it.
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Its version.
    #[arg(long, value_name = "VERSION")]
    pub(crate) service_version: Option<String>,
    /// Keep JSON bodies of requests and answers in the entries, and show state.
    #[arg(long)]
    pub(crate) keep_json: bool,
    #[command(flatten)]
    pub(crate) member: Member,
}

#[derive(Debug, Args)]
pub(crate) struct Content {
    /// Which of the shop's services.
    #[arg(long, value_enum, default_value_t = ShopService::Content)]
    pub(crate) service: ShopService,
    /// Where it listens. [default: a free port of 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where its own health and metrics are served. [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// The catalogue service.
    #[arg(long, value_name = "URL")]
    pub(crate) catalogue: Option<String>,
    /// The payment service.
    #[arg(long, value_name = "URL")]
    pub(crate) payment: Option<String>,
    /// The stock service.
    #[arg(long, value_name = "URL")]
    pub(crate) stock: Option<String>,
    #[command(flatten)]
    pub(crate) member: Member,
}

/// The example shop's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ShopService {
    Content,
    Catalogue,
    Payment,
    Stock,
}

#[derive(Debug, Args)]
pub(crate) struct Repository {
    /// Where the query API and the page are served. [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) member: Member,
}

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Where health, metrics and the state of the monitors are served. [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) member: Member,
}

#[derive(Debug, Args)]
pub(crate) struct RaceReplica {
    /// The site's name, as in its master's configuration.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: ServerName,
    /// Where clients reach this site over HTTP; its content is fetched there for a race.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// An address that clients ask (the master's or the name server's), which answers come from
    /// (repeatable). This machine must have it, or may bind foreign ones. [default: from the
    /// configuration]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) service: Vec<SocketAddr>,
    /// Where it hears its master. [default: 127.0.0.1:7701]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where its own health and metrics are served. [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Where the keys are, if no file is named.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The file with the keys that the fleet shares. [default: DATA/keys, made if it is missing]
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Write the addresses to this file, as JSON, once it serves.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
    /// For tests: a clock that is off and drifts, as in `+3s,30ppm`.
    #[arg(long, value_name = "OFFSET,DRIFT", allow_hyphen_values = true)]
    pub(crate) test_clock: Option<TestClock>,
}
