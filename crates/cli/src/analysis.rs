//! `selvedge paths`, `selvedge audit` and `selvedge audit-key`: what many call trees tell (D13,
//! D14).

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use selvedge_identity::{AuditKey, Consumer, Holder, KeyRing};
use serde_json::Value;

use crate::args::Asking;
use crate::{ask, config, print, show};

/// Which requests, by the time at which they began.
#[derive(Debug, Args)]
pub(crate) struct Range {
    /// Only requests that started at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only requests that started before this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How many rows to list at most.
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Go on after an earlier answer: its `next`.
    #[arg(long, value_name = "NEXT")]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Paths {
    /// Only requests whose root is this service.
    #[arg(long)]
    service: Option<String>,
    /// Only requests whose root was asked this, as in `POST /orders`.
    #[arg(long)]
    operation: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only lines of this consumer: `client:ID`, `service:NAME` or `unknown`.
    #[arg(long)]
    consumer: Option<Consumer>,
    /// Only lines of this service.
    #[arg(long)]
    service: Option<String>,
    /// A line for each hour, each day (UTC), or one for all.
    #[arg(long, value_parser = ["hour", "day", "all"])]
    period: Option<String>,
    /// List the requests that prove a consumer's lines instead.
    #[arg(long, conflicts_with = "period")]
    requests: bool,
    /// A key made by `selvedge audit-key`. [default: the variable SELVEDGE_KEY]
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Args)]
pub(crate) struct MakeKey {
    /// Whose audit it opens: `client:ID` or `service:NAME`.
    #[arg(required_unless_present = "operator")]
    consumer: Option<Consumer>,
    /// Make an operator's key: it opens everything.
    #[arg(long, conflicts_with = "consumer")]
    operator: bool,
    /// For how many days it is worth something.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The data folder of the running Selvedge.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The file with the keys that the fleet shares. [default: DATA/keys]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

type Query = Vec<(&'static str, String)>;

/// Shows call paths.
///
/// # Errors
/// When nothing answers, or with an error.
pub(crate) async fn paths(args: Paths) -> Result<()> {
    let mut query = args.range.query();
    add(&mut query, "service", args.service);
    add(&mut query, "operation", args.operation);
    let list = ask::get(&args.asking.admin, "/api/v1/analysis/paths", &query).await?;
    show(args.asking.json, &list, print::paths::render)
}

/// Shows lines of an audit, or the requests that prove them.
///
/// # Errors
/// When nothing answers, or with an error.
pub(crate) async fn audit(args: Audit) -> Result<()> {
    let mut query = args.range.query();
    add(&mut query, "consumer", args.consumer.map(|c| c.to_string()));
    add(&mut query, "service", args.service);
    add(&mut query, "period", args.period);
    let (path, render): (_, fn(&Value) -> String) = if args.requests {
        ("/api/v1/audit/requests", print::audit::requests)
    } else {
        ("/api/v1/audit", print::audit::lines)
    };
    let list = ask::get_with(args.key, &args.asking.admin, path, &query).await?;
    show(args.asking.json, &list, render)
}

/// Makes a key and prints it.
///
/// # Errors
/// When the fleet's keys cannot be read: they are never made here, for a key made with others is
/// worth nothing.
pub(crate) fn make_key(args: MakeKey) -> Result<()> {
    let config = config::load(args.config.as_deref())?;
    let data = args
        .data
        .or(config.data)
        .unwrap_or_else(|| PathBuf::from(crate::base::DATA));
    let path = args
        .keys
        .or(config.keys)
        .unwrap_or_else(|| data.join("keys"));
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "cannot read the fleet's keys {}; say where they are with --data or --keys",
            path.display()
        )
    })?;
    let keys = KeyRing::parse(&text).with_context(|| format!("key file {}", path.display()))?;
    let holder = match args.consumer {
        Some(Consumer::Unknown) => bail!("nobody holds the key of `unknown`; name a consumer"),
        Some(consumer) => Holder::Consumer(consumer),
        None => Holder::Operator,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now
        .context("this host's clock stands before 1970")?
        .as_secs();
    let expires = now + u64::from(args.days) * 86_400;
    let key = AuditKey { holder, expires }.sign(&keys);
    print::text(&format!("{key}\n"))?;
    Ok(())
}

impl Range {
    fn query(self) -> Query {
        let mut query = Query::new();
        add(&mut query, "from", self.from);
        add(&mut query, "to", self.to);
        add(
            &mut query,
            "limit",
            self.limit.map(|limit| limit.to_string()),
        );
        add(&mut query, "cursor", self.cursor);
        query
    }
}

fn add(query: &mut Query, name: &'static str, value: Option<String>) {
    query.extend(value.map(|value| (name, value)));
}
