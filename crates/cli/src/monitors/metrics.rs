//! The monitors' metrics, in Prometheus' text form.

use std::fmt::Write as _;

use selvedge_monitor::transaction::Transactions;
use selvedge_monitor::{MonitorStatus, StatusAsker};

/// Asks the monitors of this process how they stand.
#[derive(Clone)]
pub(crate) struct MonitorAsker {
    pub(super) thresholds: Option<StatusAsker>,
    pub(super) transactions: Transactions,
}

impl MonitorAsker {
    /// Their metrics. A database that cannot be read has none, until it can be.
    pub(crate) async fn metrics(&self) -> String {
        let mut out = String::new();
        if let Some(thresholds) = &self.thresholds {
            threshold_rows(&thresholds.status().await, &mut out);
        }
        let transactions = self.transactions.clone();
        let counts = tokio::task::spawn_blocking(move || transactions.counts()).await;
        match counts {
            Ok(Ok(counts)) => transaction_rows(&counts, &mut out),
            Ok(Err(error)) => tracing::warn!(%error, "no metrics of transactions"),
            Err(error) => tracing::error!(%error, "no metrics of transactions"),
        }
        out
    }
}

fn threshold_rows(status: &MonitorStatus, out: &mut String) {
    let rules = &status.thresholds;
    let mut entries = Vec::new();
    for rule in rules {
        let (name, counts) = (rule.rule.name.as_str(), rule.counts);
        for (outcome, count) in [
            ("taken", counts.taken),
            ("late", counts.late),
            ("ahead", counts.ahead),
            ("left_out", counts.left_out),
            ("lacking", counts.lacking),
        ] {
            entries.push((vec![("rule", name), ("outcome", outcome)], count));
        }
    }
    family(out, "threshold_entries", COUNTER, &entries);
    let of_rules = |value: fn(&selvedge_monitor::RuleStatus) -> usize| -> Vec<_> {
        let rows = rules.iter().map(|rule| {
            let label = ("rule", rule.rule.name.as_str());
            (vec![label], value(rule) as u64)
        });
        rows.collect()
    };
    let groups = of_rules(|rule| rule.groups.len());
    family(out, "threshold_groups", GAUGE, &groups);
    let firing = of_rules(|rule| rule.groups.iter().filter(|group| group.firing).count());
    family(out, "threshold_groups_firing", GAUGE, &firing);

    let followed = status.followed;
    let records = [
        ("taken", followed.records),
        ("repeated", followed.repeated),
        ("unreadable", followed.unreadable),
        ("lost", followed.lost),
        ("unclosed", followed.unclosed),
    ];
    let records = records.map(|(outcome, count)| (vec![("outcome", outcome)], count));
    family(out, "threshold_records", COUNTER, &records);
    let waiting = status.waiting.iter();
    let waiting: Vec<_> = waiting
        .map(|(receiver, waiting)| (vec![("receiver", receiver.as_str())], *waiting as u64))
        .collect();
    family(out, "threshold_notifications_waiting", GAUGE, &waiting);
    let given_up = [(Vec::new(), status.given_up)];
    family(out, "threshold_notifications_given_up", COUNTER, &given_up);
}

fn transaction_rows(counts: &[(String, u64, u64)], out: &mut String) {
    let of_rules = |value: fn(&(String, u64, u64)) -> u64| -> Vec<_> {
        let rows = counts.iter();
        rows.map(|row| (vec![("rule", row.0.as_str())], value(row)))
            .collect()
    };
    family(out, "transactions_done", COUNTER, &of_rules(|row| row.1));
    let dead = of_rules(|row| row.2);
    family(out, "transactions_dead_letters", GAUGE, &dead);
}

const COUNTER: (&str, &str) = ("counter", "_total");
const GAUGE: (&str, &str) = ("gauge", "");

/// All rows of a metric, below its type; nothing where there are none.
fn family(
    out: &mut String,
    name: &str,
    (kind, suffix): (&str, &str),
    rows: &[(Vec<(&str, &str)>, u64)],
) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "# TYPE selvedge_{name} {kind}");
    for (labels, value) in rows {
        let _ = write!(out, "selvedge_{name}{suffix}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(out, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(out, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use selvedge_monitor::threshold::ThresholdCounts;
    use selvedge_monitor::{GroupStatus, RuleStatus};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_and_its_receivers_are_counted_by_name() {
        let rule = serde_json::from_value(json!({
            "name": "a \"loud\" rule",
            "filter": "error = true",
            "count": "events",
            "window": "tumbling 10s",
            "raise": 3.0,
        }));
        let group = |firing| GroupStatus {
            group: None,
            value: 4.0,
            error: 0.0,
            firing,
            crossing: None,
        };
        let status = MonitorStatus {
            thresholds: vec![RuleStatus {
                rule: rule.expect("a rule"),
                counts: ThresholdCounts {
                    taken: 9,
                    late: 2,
                    ..ThresholdCounts::default()
                },
                groups: vec![group(true), group(false)],
            }],
            waiting: vec![("link 127.0.0.1:7800".to_owned(), 5)],
            given_up: 1,
            ..MonitorStatus::default()
        };
        let mut text = String::new();
        threshold_rows(&status, &mut text);
        for row in [
            "# TYPE selvedge_threshold_entries counter",
            r#"selvedge_threshold_entries_total{rule="a \"loud\" rule",outcome="taken"} 9"#,
            r#"selvedge_threshold_entries_total{rule="a \"loud\" rule",outcome="late"} 2"#,
            r#"selvedge_threshold_groups{rule="a \"loud\" rule"} 2"#,
            r#"selvedge_threshold_groups_firing{rule="a \"loud\" rule"} 1"#,
            r#"selvedge_threshold_notifications_waiting{receiver="link 127.0.0.1:7800"} 5"#,
            "selvedge_threshold_notifications_given_up_total 1",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}: {text}");
        }
    }
}
