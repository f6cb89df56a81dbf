//! The command line (design section 11).

mod asking;
mod receiver;
mod roles;
mod values;

pub(crate) use asking::{
    Asking, Diagnose, Fetch, Import, Log, Search, SessionArgs, Transactions, Tree,
};
pub(crate) use receiver::{Browse, Listen, RaceArgs, Receiver, ReceiverCommand, Watch};
pub(crate) use roles::{
    Content, Encoder, Gateway, Member, Monitor, RaceReplica, Repository, ShopService, Sidecar,
    SignalArgs,
};
pub(crate) use values::{BusAddress, ClockSkew, Slow, duration};

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use selvedge_encoder::Output;

use self::values::clip;
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use selvedge_receiver::Step;

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
