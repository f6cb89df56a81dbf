//! The `selvedge` program: arguments, configuration, wiring, terminal output. What it wires is in
//! the other crates.

mod admin;
mod agent;
mod analysis;
mod args;
mod ask;
mod base;
mod bus;
mod channel;
mod collect;
mod config;
mod dns;
mod encoder;
mod fetch;
mod identifier;
mod import;
mod keys;
mod local;
mod monitors;
mod plan;
mod ports;
mod print;
mod race;
mod roles;
mod signal;
mod thresholds;
mod transactions;
mod transmit;
mod up;

use std::io::{ErrorKind, IsTerminal as _};
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use selvedge_encoder::Input;
use selvedge_receiver::{BrowseOptions, ListenOptions, Source, Stream, WatchOptions};

use crate::args::{Browse, Cli, Command, Listen, ReceiverCommand, Search, Watch};

/// A fifth of the gateway's own time went into the system's allocator (benches/benches/gateway.rs).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Wrong use ends here, with exit code 2.
    let cli = Cli::parse();
    logging();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough: `selvedge log … | head`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("selvedge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Of a known type, the runtime would compile it three times over, with all that it awaits.
    let done: Pin<Box<dyn Future<Output = Result<()>>>> = Box::pin(dispatch(command));
    runtime.block_on(done)
}

async fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::up(args).await,
        Command::Check(args) => {
            config::load(Some(&args.config))?;
            print::text(&format!("{} is right\n", args.config.display()))?;
            Ok(())
        }
        Command::Tree(args) => {
            let tree = if args.from.is_empty() {
                fetch::tree(&args).await?
            } else {
                local::tree(args.origin, &args.from)?
            };
            show(args.asking.json, &tree, print::tree::render)
        }
        Command::Session(args) => {
            let path = format!("/api/v1/sessions/{}", args.id);
            let timeline = ask::get(&args.asking.admin, &path, &[]).await?;
            show(args.asking.json, &timeline, print::timeline::render)
        }
        Command::Search(args) => {
            let list = ask::get(&args.asking.admin, "/api/v1/requests", &query(&args)).await?;
            show(args.asking.json, &list, print::listing::requests)
        }
        Command::Diagnose(args) => {
            let path = format!("/api/v1/requests/{}/diagnosis", args.origin);
            let diagnosis = ask::get(&args.asking.admin, &path, &[]).await?;
            show(args.asking.json, &diagnosis, print::diagnosis::render)
        }
        Command::Fetch(args) => fetch::fetch(&args).await,
        Command::Paths(args) => analysis::paths(args).await,
        Command::Audit(args) => analysis::audit(args).await,
        Command::AuditKey(args) => analysis::make_key(args),
        Command::Thresholds(asking) => monitors::show_thresholds(&asking).await,
        Command::Plan(args) => plan::plan(&args),
        Command::Transactions(args) => monitors::show_transactions(&args).await,
        Command::Log(args) => local::log(&args.path, args.session, args.json),
        Command::Import(args) if args.tree => import::trees(&args),
        Command::Import(args) => import::import(&args).await,
        Command::Receiver(args) => match args.what {
            ReceiverCommand::Browse(args) => browse(args).await,
            ReceiverCommand::Listen(args) => listen(args).await,
            ReceiverCommand::Race(args) => race::race(args).await,
            ReceiverCommand::Watch(args) => watch(args).await,
        },
        Command::Gateway(args) => roles::gateway(args).await,
        Command::Sidecar(args) => roles::sidecar(args).await,
        Command::Content(args) => roles::content(args).await,
        Command::Repository(args) => roles::repository(args).await,
        Command::Monitor(args) => roles::monitor(args).await,
        Command::RaceReplica(args) => race::replica(args).await,
        Command::Encoder(args) => encoder::encoder(args).await,
    }
}

fn show(
    json: bool,
    value: &serde_json::Value,
    render: fn(&serde_json::Value) -> String,
) -> Result<()> {
    if json {
        print::json(value)?;
    } else {
        print::text(&render(value))?;
    }
    Ok(())
}

fn query(args: &Search) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    let mut add = |name, value: &Option<String>| {
        if let Some(value) = value {
            query.push((name, value.clone()));
        }
    };
    add("service", &args.service);
    add("operation", &args.operation);
    add("min_duration", &args.min_duration);
    add("max_duration", &args.max_duration);
    add("session", &args.session);
    add("client", &args.client);
    add("from", &args.from);
    add("to", &args.to);
    add("limit", &args.limit.map(|limit| limit.to_string()));
    for attribute in &args.attribute {
        add("attribute", &Some(attribute.clone()));
    }
    for flag in &args.flag {
        add("flag", &Some(flag.clone()));
    }
    add("error", &args.error.then(|| "true".to_owned()));
    query
}

async fn browse(args: Browse) -> Result<()> {
    let options = BrowseOptions {
        state: Some(args.state),
        rounds: args.rounds,
        in_flight: args.concurrency.max(1) as usize,
        delay_max: args.delay_max,
        seed: args.seed,
        time_limit: args.time_limit,
        json: args.json,
        walk: if args.walk.is_empty() {
            selvedge_receiver::default_walk()
        } else {
            args.walk
        },
        gateway: args.gateway,
    };
    let summary = selvedge_receiver::browse(options, &mut std::io::stdout()).await?;
    if summary.sent > 0 && summary.failed == summary.sent {
        anyhow::bail!("none of {} requests was answered", summary.sent);
    }
    Ok(())
}

async fn listen(args: Listen) -> Result<()> {
    let options = ListenOptions {
        source: match (args.video, args.udp) {
            (Some(video), _) if video == "hls" => {
                Source::Video(stream(&args.gateway, CHANNEL, None))
            }
            (Some(video), _) => Source::Video(stream(&args.gateway, CHANNEL, Some(video.parse()?))),
            (None, Some(address)) => Source::Udp {
                address,
                interface: args.interface,
            },
            (None, None) => Source::Stream(args.path),
        },
        count: args.count,
        browse: BrowseOptions {
            state: Some(args.state),
            walk: args.walk,
            time_limit: args.time_limit,
            json: args.json,
            ..BrowseOptions::new(args.gateway)
        },
    };
    let summary = selvedge_receiver::listen(options, &mut std::io::stdout()).await?;
    if summary.failed > 0 {
        anyhow::bail!("{} of {} requests failed", summary.failed, summary.sent);
    }
    Ok(())
}

/// Where the channel's playlist is at a gateway.
const CHANNEL: &str = "/selvedge/channel/channel.m3u8";

/// The stream that is named, else the gateway's channel.
fn stream(gateway: &str, path: &str, input: Option<Input>) -> Stream {
    match input {
        None => Stream::Hls(format!("{}{path}", gateway.trim_end_matches('/'))),
        Some(Input::Stdin) => Stream::Stdin,
        Some(Input::File(path)) => Stream::File(path),
        Some(Input::Udp(udp)) => Stream::Udp {
            address: udp.address,
            interface: udp.interface,
        },
    }
}

async fn watch(args: Watch) -> Result<()> {
    let stream = stream(&args.gateway, &args.path, args.input);
    let options = WatchOptions {
        stream,
        json: args.json,
        count: args.count,
    };
    let seen = selvedge_receiver::watch(options, &mut std::io::stdout()).await?;
    if args.count.is_some_and(|count| seen < count) {
        anyhow::bail!("the stream ended after {seen} indications");
    }
    Ok(())
}

/// Logs go to standard error; `SELVEDGE_LOG` chooses what, as in `info` or `selvedge_node=debug`.
fn logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("SELVEDGE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| {
        let io = cause
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        io.or_else(|| {
            let json = cause.downcast_ref::<serde_json::Error>();
            json.and_then(serde_json::Error::io_error_kind)
        })
    });
    io == Some(ErrorKind::BrokenPipe)
}
