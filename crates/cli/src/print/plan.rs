//! A plan on a terminal.

use std::fmt::Write as _;

use selvedge_plan::{Bus, Flow, Plan};

use super::{BAD, CARE, DIM, GOOD, NAME, Table, styled};

/// Renders a plan.
pub(crate) fn render(plan: &Plan) -> String {
    let fleet = &plan.fleet;
    let request = &plan.per_request;
    let mut out = format!(
        "{} servers, {} requests/s, {} calls a request: {:.0} records of {} in journals for each \
         request\n\n",
        styled(NAME, &fleet.servers.to_string()),
        styled(NAME, &number(fleet.rate)),
        fleet.calls,
        request.gateway_records + request.server_records,
        bytes(request.gateway_bytes + request.server_bytes),
    );
    let mut table = Table::new(&[
        "",
        "records/s",
        "bytes/s",
        "of its link",
        "cores",
        "disk a day",
    ]);
    let server = &plan.server;
    let row = |what: &str, flow: &Flow, cores: Option<f64>, disk: Option<f64>| {
        let share = flow.of_link(fleet);
        let style = match share {
            share if share > 1.0 => BAD,
            share if share > 0.5 => CARE,
            _ => GOOD,
        };
        vec![
            (NAME, what.to_owned()),
            (DIM, number(flow.records_per_s)),
            (DIM, bytes(flow.bytes_per_s)),
            (style, format!("{:.1} %", share * 100.0)),
            (
                DIM,
                cores.map_or_else(String::new, |cores| format!("{cores:.2}")),
            ),
            (DIM, disk.map_or_else(String::new, bytes)),
        ]
    };
    table.row(row(
        "a server: out",
        &server.out,
        None,
        Some(server.journal_bytes_per_day),
    ));
    table.row(row("a server: in", &server.into, Some(server.cores), None));
    let mut bus = |name: &str, bus: &Bus| {
        let disk = Some(bus.stored_bytes_per_day).filter(|stored| *stored > 0.0);
        table.row(row(&format!("{name}: in"), &bus.into, None, disk));
        table.row(row(&format!("{name}: out"), &bus.out, bus.cores, None));
    };
    bus("embedded hub", &plan.hub);
    bus("or JetStream's leader, replicas 3", &plan.jetstream);
    out.push_str(&table.render());

    let memory = &server.memory;
    let _ = write!(
        out,
        "\na server's memory holds {} of entries and reaches {} back",
        bytes(memory.bytes),
        seconds(memory.reaches_s)
    );
    if let Some(needed) = memory.bytes_for_age.filter(|needed| *needed > memory.bytes) {
        let age = seconds(fleet.memory_age_s as f64);
        let _ = write!(out, " ({} would hold {age})", bytes(needed));
    }
    if fleet.state_bytes > 0.0 {
        let _ = write!(
            out,
            ", and {} of state, with room for {} sessions",
            bytes(memory.state_bytes),
            number(memory.state_sessions)
        );
    }
    out.push_str("\n\n");

    let mut table = Table::new(&["what becomes too narrow", "used", "full at requests/s"]);
    for limit in &plan.limits {
        let style = if limit.used > 1.0 { BAD } else { GOOD };
        table.row(vec![
            (NAME, limit.what.to_owned()),
            (style, format!("{:.0} %", limit.used * 100.0)),
            (DIM, number(limit.rate_max)),
        ]);
    }
    out.push_str(&table.render());
    out.push('\n');
    for advice in &plan.advice {
        let _ = writeln!(out, "- {advice}");
    }
    out
}

/// A number with three digits that matter.
fn number(number: f64) -> String {
    scaled(number, 1000.0, &["", " k", " M", " G", " T"])
}

fn bytes(bytes: f64) -> String {
    scaled(
        bytes,
        1024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"],
    )
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        seconds => format!("{} days", number(seconds / 86_400.0)),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let digits = match number {
        number if number >= 100.0 || number.fract() == 0.0 => 0,
        number if number >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use selvedge_plan::Fleet;

    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        assert_eq!(number(3.0), "3");
        assert_eq!(number(4_321.0), "4.32 k");
        assert_eq!(bytes(1536.0), "1.50 KiB");
        assert_eq!(bytes(f64::from(300 << 20)), "300 MiB");
        assert_eq!(seconds(90.0), "90 s");
        assert_eq!(seconds(86_400.0), "24 h");
    }

    #[test]
    fn a_plan_names_every_place_and_every_limit() {
        let plan = Plan::of(Fleet {
            servers: 10,
            rate: 5_000.0,
            calls: 3.0,
            entry_bytes: None,
            sessions: 1_000,
            state_bytes: 500.0,
            readers: 2,
            memory_bytes_max: 256 << 20,
            memory_age_s: 86_400,
            state_bytes_max: 64 << 20,
            link_bits_per_s: 1e9,
        });
        let plain = anstream::adapter::strip_str(&render(&plan)).to_string();
        for said in [
            "a server: in",
            "embedded hub: out",
            "JetStream",
            "would hold 24 h",
        ] {
            assert!(plain.contains(said), "{said}: {plain}");
        }
        for limit in &plan.limits {
            assert!(plain.contains(limit.what), "{plain}");
        }
        for advice in &plan.advice {
            assert!(plain.contains(advice), "{plain}");
        }
        assert!(!plain.contains("NaN") && !plain.contains("inf"), "{plain}");
    }
}
