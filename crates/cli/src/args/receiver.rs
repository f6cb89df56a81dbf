//! `selvedge receiver`: what our client does.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use selvedge_encoder::Input;
use selvedge_receiver::Step;

use super::duration;

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
