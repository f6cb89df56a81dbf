//! `selvedge plan`: what it costs a fleet that every server knows what every other did.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use selvedge_plan::{Fleet, Plan};

use crate::{config, print};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Servers behind the gateway, those that only other services call among them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    servers: u64,
    /// Requests a second that all clients send together.
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: f64,
    /// Calls to deeper services that a request causes.
    #[arg(long, value_name = "C", default_value = "0", value_parser = not_negative)]
    calls: f64,
    /// Bytes that a request's entry takes in its server's journal, with the bodies and state that
    /// it keeps (`selvedge log` shows them). [default: measured, with nothing kept]
    #[arg(long, value_name = "B", value_parser = positive)]
    entry_bytes: Option<f64>,
    /// Sessions with state that are live at once.
    #[arg(long, value_name = "S", default_value_t = 0)]
    sessions: u64,
    /// Bytes of state of each.
    #[arg(long, value_name = "B", default_value = "1000", value_parser = not_negative)]
    state_bytes: f64,
    /// Repositories and monitors on the bus.
    #[arg(long, value_name = "N", default_value_t = 1)]
    readers: u64,
    /// What a network link carries each way, in Gb/s.
    #[arg(long, value_name = "GBIT", default_value = "1", value_parser = positive)]
    link: f64,
    /// Take the bounds of memories from this configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the plan.
pub(crate) fn plan(args: &PlanArgs) -> Result<()> {
    let node = config::load(args.config.as_deref())?.node;
    let has_state = args.sessions > 0;
    let plan = Plan::of(Fleet {
        servers: args.servers,
        rate: args.rate,
        calls: args.calls,
        entry_bytes: args.entry_bytes,
        sessions: args.sessions,
        state_bytes: if has_state { args.state_bytes } else { 0.0 },
        readers: args.readers,
        memory_bytes_max: node.memory_bytes_max as u64,
        memory_age_s: node.memory_age_s,
        state_bytes_max: node.state_bytes_max as u64,
        link_bits_per_s: args.link * 1e9,
    });
    if args.json {
        print::json(&serde_json::to_value(&plan)?)?;
    } else {
        print::text(&print::plan::render(&plan))?;
    }
    Ok(())
}

fn positive(text: &str) -> Result<f64, String> {
    match not_negative(text)? {
        0.0 => Err("it must be more than 0".to_owned()),
        number => Ok(number),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it must be a number".to_owned())?;
    match (0.0..=1e12).contains(&number) {
        true => Ok(number),
        false => Err("it must be a number from 0 to 1e12".to_owned()),
    }
}
