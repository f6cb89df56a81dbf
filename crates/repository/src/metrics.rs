//! The repository's own metrics, in the OpenMetrics text form. All names stand here.

use std::fmt::Write;

use selvedge_entry::Text;

use crate::ingest::IngestState;
use crate::store::{Calls, Store};

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Hosts that have rows of their own; those with the most reconstructed calls.
const HOSTS_MAX: usize = 100;

/// The row of the other hosts' sum.
const OTHER_HOSTS: &str = "other";

/// The repository's metrics and then `more`, which other parts gave (its end mark is moved to the
/// end).
pub(crate) fn text(store: &Store, state: &IngestState, more: &str) -> String {
    let counts = store.counts();
    let mut out = String::with_capacity(more.len() + 2048);
    gauge(&mut out, "entries", "Entries held.", counts.entries);
    gauge(&mut out, "spans", "Spans held.", counts.spans);
    gauge(&mut out, "requests", "Requests held.", counts.requests);
    gauge(&mut out, "sessions", "Visits held.", counts.sessions);
    counter(
        &mut out,
        "records",
        "Records written, or read back at the start.",
        counts.records,
    );
    counter(
        &mut out,
        "repeated_records",
        "Records delivered again and left out.",
        counts.repeated,
    );
    counter(
        &mut out,
        "unreadable_records",
        "Records kept that this version cannot read.",
        counts.unreadable,
    );
    counter(
        &mut out,
        "damaged_entries",
        "Reads of entries that found their files damaged.",
        counts.damaged,
    );
    counter(
        &mut out,
        "batches",
        "Batches taken from the bus.",
        state.batches(),
    );
    counter(
        &mut out,
        "gaps",
        "Losses that journal owners declared.",
        state.gaps(),
    );
    counter(
        &mut out,
        "write_failures",
        "Writes and syncs that the disk refused.",
        state.failures(),
    );
    counter(
        &mut out,
        "repeated_spans",
        "Spans that came again and were left out.",
        counts.spans_repeated,
    );
    judged(&mut out, store);
    for line in more.lines().filter(|line| *line != "# EOF") {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

/// What the verdicts on all requests come to.
fn judged(out: &mut String, store: &Store) {
    let (flags, undecided) = store.flag_counts();
    gauge(
        out,
        "undecided_requests",
        "Requests that were not judged yet.",
        undecided,
    );
    let rows = |rows: &[(Text, u64)]| -> Vec<(Text, String)> {
        let rows = rows.iter();
        rows.map(|(label, value)| (label.clone(), value.to_string()))
            .collect()
    };
    family(
        out,
        "flagged_requests",
        "Requests by what is to be said of them.",
        "flag",
        &rows(&flags),
    );
    let (mut hosts, others) = store.reconstructed(HOSTS_MAX);
    if others.calls > 0 {
        hosts.push((OTHER_HOSTS.into(), others));
    }
    let count = |of: fn(&Calls) -> u64| -> Vec<(Text, u64)> {
        let hosts = hosts.iter();
        hosts
            .map(|(host, calls)| (host.clone(), of(calls)))
            .collect()
    };
    family(
        out,
        "host_calls",
        "Calls received by hosts some of whose calls were reconstructed.",
        "host",
        &rows(&count(|calls| calls.calls)),
    );
    family(
        out,
        "host_calls_reconstructed",
        "Those of them that deeper identifiers tell of, for their own or their caller's logs are lost.",
        "host",
        &rows(&count(|calls| calls.reconstructed)),
    );
    let share = |calls: &Calls| calls.reconstructed as f64 / calls.calls as f64;
    let shares = hosts.iter();
    let shares: Vec<(Text, String)> = shares
        .map(|(host, calls)| (host.clone(), share(calls).to_string()))
        .collect();
    family(
        out,
        "host_calls_reconstructed_share",
        "The share of calls that were reconstructed, by host.",
        "host",
        &shares,
    );
}

/// Gauges of one name that a label tells apart; nothing where there are none.
fn family(out: &mut String, name: &str, help: &str, label: &str, rows: &[(Text, String)]) {
    if rows.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "# HELP selvedge_repository_{name} {help}\n# TYPE selvedge_repository_{name} gauge"
    );
    for (value_of, value) in rows {
        let escaped = value_of
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        _ = writeln!(
            out,
            "selvedge_repository_{name}{{{label}=\"{escaped}\"}} {value}"
        );
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: u64) {
    // Writing into a string cannot fail.
    _ = writeln!(
        out,
        "# HELP selvedge_repository_{name} {help}\n# TYPE selvedge_repository_{name} gauge\nselvedge_repository_{name} {value}"
    );
}

fn counter(out: &mut String, name: &str, help: &str, value: u64) {
    _ = writeln!(
        out,
        "# HELP selvedge_repository_{name} {help}\n# TYPE selvedge_repository_{name} counter\nselvedge_repository_{name}_total {value}"
    );
}
