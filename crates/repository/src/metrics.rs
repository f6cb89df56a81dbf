//! The repository's own metrics, in the OpenMetrics text form. All names stand here.

use std::fmt::Write;

use crate::ingest::IngestState;
use crate::store::StoreCounts;

/// The content type of the text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The repository's metrics and then `more`, which other parts gave (its end mark is moved to the
/// end).
pub(crate) fn text(counts: StoreCounts, state: &IngestState, more: &str) -> String {
    let mut out = String::with_capacity(more.len() + 2048);
    gauge(&mut out, "entries", "Entries held.", counts.entries);
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
    for line in more.lines().filter(|line| *line != "# EOF") {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
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
