//! The command line (design section 11).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use selvedge_encoder::{Input, Output};
use selvedge_identity::{Origin, ServerName, SessionId};
use selvedge_receiver::Step;

use crate::race::TestClock;
use crate::{analysis, plan};

/// Balances requests over a fleet of servers, keeps every visit in true order, and rebuilds every
/// request's call tree.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process: gateway, content servers, bus, repository, web page.
    Up(Up),
    /// Read a configuration file and say what is wrong with it.
    Check(Check),
    /// Show the call tree of a request.
    Tree(Tree),
    /// Show a visit's ordered actions over all servers.
    Session(SessionArgs),
    /// Find requests.
    Search(Search),
    /// Find the source of a request's error, and its critical path.
    Diagnose(Diagnose),
    /// Have servers report entries that they hold back: of a request, a visit or a time.
    Fetch(Fetch),
    /// Show the ways that requests take through the services: how often, how fast, how well.
    Paths(analysis::Paths),
    /// Show who consumed which service how often and how much.
    Audit(analysis::Audit),
    /// Make a key with which a consumer reads its own audit.
    AuditKey(analysis::MakeKey),
    /// Show what thresholds count, and which fire.
    Thresholds(Asking),
    /// Show what transactions were done and which failed, and try those again.
    Transactions(Transactions),
    /// Say what it costs a fleet of a size, at a rate, that every server knows what every other did.
    Plan(plan::PlanArgs),
    /// Read a local journal.
    Log(Log),
    /// Give a running Selvedge spans from files of other tracing systems (OTLP, Zipkin v2, Jaeger),
    /// or show their call trees.
    Import(Import),
    /// Be a client: a viewer's terminal.
    Receiver(Receiver),
    /// Run the load balancer with the log server and the bus hub in it.
    Gateway(Gateway),
    /// Run the proxy before a content server written in any language.
    Sidecar(Sidecar),
    /// Run one of the example shop's servers.
    Content(Content),
    /// Run the repository with the query API and the web page.
    Repository(Repository),
    /// Run the monitors: thresholds and transactions.
    Monitor(Monitor),
    /// Run a server's part in the response race: it answers clients at the instant that all share.
    RaceReplica(RaceReplica),
    /// Run the content encoder: places what monitors tell in a transport stream.
    Encoder(Encoder),
}

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

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Where journals, repository and keys are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// A content server of yours (repeatable); a sidecar is put before each. Without any, the
    /// example shop's servers are started.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Vec<String>,
    /// How many example content servers to start. [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) servers: Option<u16>,
    /// A transport stream that is played in a loop as the channel, with indications of what viewers
    /// do in it. [default: DATA/channel.ts, if it is there]
    #[arg(long, value_name = "FILE.ts")]
    pub(crate) channel: Option<PathBuf>,
    /// A clip that comes on in the channel when a broadcast says that this content is on now
    /// (repeatable).
    #[arg(long, value_name = "CONTENT=FILE.ts", value_parser = clip)]
    pub(crate) clip: Vec<(String, PathBuf)>,
    /// Where the channel goes beside the gateway (repeatable), as an encoder's output.
    #[arg(long, value_name = "OUTPUT")]
    pub(crate) channel_output: Vec<Output>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Take free ports instead of the usual ones.
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Write the addresses to this file, as JSON, once everything serves.
    #[arg(long, value_name = "FILE")]
    pub(crate) ports_file: Option<PathBuf>,
    /// For tests: shift one server's clock, as in `content-2=+3600s` (repeatable).
    #[arg(long, value_name = "SERVER=SKEW")]
    pub(crate) test_clock_skew: Vec<ClockSkew>,
    /// For tests: make one server answer more slowly, as in `content-2=200ms` (repeatable).
    #[arg(long, value_name = "SERVER=DELAY")]
    pub(crate) test_slow: Vec<Slow>,
    /// For tests: delay everything on the bus, as in `500ms`.
    #[arg(long, value_name = "DELAY", value_parser = duration)]
    pub(crate) test_bus_delay: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

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
pub(crate) struct Receiver {
    #[command(subcommand)]
    pub(crate) what: ReceiverCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiverCommand {
    /// Browse the shop: look, order, vote; the visit goes on after a restart.
    Browse(Browse),
    /// Listen to broadcasts, and go on with the visit from those that address it.
    Listen(Listen),
    /// Let the servers race to this client, and go to the first.
    Race(RaceArgs),
    /// Watch the channel, and print the indications in its video with how long they took.
    Watch(Watch),
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// The gateway that serves the channel.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) gateway: String,
    /// Where the channel's playlist is at the gateway.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/selvedge/channel/channel.m3u8"
    )]
    pub(crate) path: String,
    /// Watch this stream instead: a file, `-`, or `udp://ADDRESS:PORT[?iface=ADDRESS]`.
    #[arg(long, value_name = "INPUT", conflicts_with_all = ["gateway", "path"])]
    pub(crate) input: Option<Input>,
    /// End after so many indications.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Print JSON, an indication a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// The gateway.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) gateway: String,
    /// Where the visit is kept between runs.
    #[arg(long, value_name = "FILE", default_value = "receiver.json")]
    pub(crate) state: PathBuf,
    /// Listen on this address, joining its group if it is one's, instead of the gateway's stream.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) udp: Option<SocketAddr>,
    /// Take broadcasts from the channel's video: `hls`, or as `watch --input` names a stream.
    #[arg(long, value_name = "INPUT", conflicts_with_all = ["udp", "path"])]
    pub(crate) video: Option<String>,
    /// The address of the interface by which the group is joined.
    #[arg(long, value_name = "ADDRESS", requires = "udp")]
    pub(crate) interface: Option<Ipv4Addr>,
    /// Where the gateway's stream is.
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/selvedge/broadcast",
        conflicts_with = "udp"
    )]
    pub(crate) path: String,
    /// What to do at the start, and after each broadcast that addresses the visit: steps as of
    /// `browse`.
    #[arg(
        long,
        value_name = "STEP,…",
        value_delimiter = ',',
        default_value = "channel"
    )]
    pub(crate) walk: Vec<Step>,
    /// End after so many broadcasts.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// How long one request may take, body and all; one that takes longer counts as failed.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) time_limit: Duration,
    /// Print JSON, an event a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Browse {
    /// The gateway.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) gateway: String,
    /// Where the visit is kept between runs.
    #[arg(long, value_name = "FILE", default_value = "receiver.json")]
    pub(crate) state: PathBuf,
    /// What to do in each round, in this order: `page`, `channel`, `orders`,
    /// `order[:ITEM[:QUANTITY]]`, `vote[:CHOICE]`, `broadcast:CONTENT`.
    /// [default: page,channel,order,vote,orders,channel]
    #[arg(long, value_name = "STEP,…", value_delimiter = ',')]
    pub(crate) walk: Vec<Step>,
    /// How often to walk through the shop.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) rounds: u32,
    /// How many requests may be in flight at once.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) concurrency: u32,
    /// Wait before each request as a viewer does: a random time of at most this, as in `2s`.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub(crate) delay_max: Duration,
    /// What the random times are drawn from: the same seed waits the same.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How long one request may take, body and all; one that takes longer counts as failed.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) time_limit: Duration,
    /// Print JSON, a request a line.
    #[arg(long)]
    pub(crate) json: bool,
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

#[derive(Debug, Args)]
pub(crate) struct RaceArgs {
    /// The gateway, on whose host the master is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) gateway: String,
    /// The master, if it is not on port 7700 of the gateway's host.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) master: Option<SocketAddr>,
    /// What is asked of the winner over HTTP, and what is raced with `--content`.
    #[arg(long, value_name = "PATH", default_value = "/channel")]
    pub(crate) path: String,
    /// Race the servers' content itself (a datagram of it), and not only their addresses.
    #[arg(long)]
    pub(crate) content: bool,
    /// How many races.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rounds: u32,
    /// How long after the first answer the others are measured.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "300ms")]
    pub(crate) rest: Duration,
    /// Compare with where DNS sends: the raced name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Ask this resolver or name server. [default: the system's]
    #[arg(long, value_name = "ADDRESS", requires = "name")]
    pub(crate) resolver: Option<SocketAddr>,
    /// How long the request to the winner may take.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) time_limit: Duration,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A server's clock shifted by a fixed time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClockSkew {
    pub(crate) server: ServerName,
    pub(crate) skew_ns: i64,
}

impl FromStr for ClockSkew {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, skew) = text
            .split_once('=')
            .ok_or("expected SERVER=SKEW, as in content-2=+3600s")?;
        let (negative, size) = match skew.strip_prefix('-') {
            Some(size) => (true, size),
            None => (false, skew.strip_prefix('+').unwrap_or(skew)),
        };
        let size_ns =
            i64::try_from(duration(size)?.as_nanos()).map_err(|_| "that is too long a time")?;
        Ok(Self {
            server: server.parse().map_err(|e| format!("{server:?}: {e}"))?,
            skew_ns: if negative { -size_ns } else { size_ns },
        })
    }
}

/// Who carries the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusAddress {
    Hub(SocketAddr),
    Nats(Vec<String>),
}

impl FromStr for BusAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            let servers = text.split(',').map(|url| url.trim().to_owned());
            return Ok(Self::Nats(servers.collect()));
        }
        let address = text.parse().map_err(|_| {
            "expected a hub's address, as in 10.0.0.1:7600, or nats://10.0.0.1:4222".to_owned()
        });
        address.map(Self::Hub)
    }
}

/// A server that answers more slowly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) server: ServerName,
    pub(crate) delay: Duration,
}

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (server, delay) = text
            .split_once('=')
            .ok_or("expected SERVER=DELAY, as in content-2=200ms")?;
        Ok(Self {
            server: server.parse().map_err(|e| format!("{server:?}: {e}"))?,
            delay: duration(delay)?,
        })
    }
}

/// `CONTENT=FILE`.
fn clip(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((content, file)) if !content.is_empty() && !file.is_empty() => {
            Ok((content.to_owned(), file.into()))
        }
        _ => Err("write CONTENT=FILE.ts, as in \"the goal again\"=goal.ts".to_owned()),
    }
}

/// Reads a duration: a number with `ns`, `us`, `ms`, `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{text:?}: expected a duration, as in 500ms or 2s")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?}: expected a duration, as in 500ms or 2s"))?;
    Duration::try_from_secs_f64(number * unit_s).map_err(|e| format!("{text:?}: {e}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_walk_is_read_as_a_list_of_steps() {
        let read = |walk: &str| {
            let args = ["selvedge", "receiver", "browse", "--walk", walk];
            Cli::try_parse_from(args).map(|cli| match cli.command {
                Command::Receiver(Receiver {
                    what: ReceiverCommand::Browse(browse),
                }) => browse.walk,
                other => panic!("{other:?}"),
            })
        };
        let order = Step::Order {
            item: Some("umbrella".to_owned()),
            quantity: 2,
        };
        assert_eq!(
            read("page,order:umbrella:2,orders").expect("valid"),
            [Step::Page, order, Step::Orders]
        );
        // What the help text says is the default.
        assert_eq!(
            read("page,channel,order,vote,orders,channel").expect("valid"),
            selvedge_receiver::default_walk()
        );
        let refused = read("page,dance").expect_err("no such step").to_string();
        assert!(refused.contains("dance"), "{refused}");
    }

    #[test]
    fn durations_and_skews_are_read_with_their_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("5").is_err());
        assert!(duration("s").is_err());
        let skew: ClockSkew = "content-2=-3600s".parse().expect("valid");
        assert_eq!(skew.skew_ns, -3_600_000_000_000);
        assert!("content-2".parse::<ClockSkew>().is_err());
    }
}
