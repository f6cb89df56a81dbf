//! Races on a terminal: who answered when, who won, and whether DNS was right.

use std::fmt::Write as _;

use selvedge_receiver::{DnsVerdict, RaceResult};

use super::{BAD, CARE, DIM, GOOD, NAME, Table, nanoseconds, styled};
use crate::race::Summary;

/// A site's name.
fn who(site: &str) -> String {
    match site {
        "" => "the master (all were silent)".to_owned(),
        site => site.to_owned(),
    }
}

/// Renders races: a row an answer, the winner first.
pub(crate) fn render(results: &[RaceResult], summary: &Summary) -> String {
    let mut table = Table::new(&[
        "race",
        "site",
        "answer",
        "after the first",
        "content",
        "http",
    ]);
    for (number, result) in (1..).zip(results) {
        for (place, answer) in result.answers.iter().enumerate() {
            let won = place == 0;
            let http = result
                .http
                .as_ref()
                .filter(|_| won)
                .map_or_else(String::new, |http| match http {
                    Ok(http) => format!("{} in {}", http.status, nanoseconds(http.duration as f64)),
                    Err(error) => error.clone(),
                });
            let content = answer.content.as_ref().map_or_else(String::new, |content| {
                format!("{}, {} bytes", content.status, content.bytes)
            });
            table.row(vec![
                (
                    DIM,
                    if won {
                        number.to_string()
                    } else {
                        String::new()
                    },
                ),
                (if won { GOOD } else { NAME }, who(&answer.site)),
                (DIM, answer.url.clone()),
                (
                    DIM,
                    if won {
                        "first".to_owned()
                    } else {
                        nanoseconds(answer.gap as f64)
                    },
                ),
                (DIM, content),
                (DIM, http),
            ]);
        }
    }
    let mut out = table.render();
    let _ = write!(out, "\n{} races:", summary.races);
    for (site, wins) in &summary.wins {
        let _ = write!(
            out,
            " {} {wins}",
            styled(NAME, &super::printable(&who(site)))
        );
    }
    out.push('\n');
    for result in results {
        match &result.dns {
            Some(DnsVerdict {
                site: Some(site),
                right: Some(true),
                ..
            }) => {
                let _ = writeln!(
                    out,
                    "{} DNS sends here too: {}",
                    styled(GOOD, "right"),
                    super::printable(site)
                );
            }
            Some(DnsVerdict {
                site: Some(site),
                right: Some(false),
                ..
            }) => {
                let _ = writeln!(
                    out,
                    "{} DNS sends to {}",
                    styled(BAD, "wrong"),
                    super::printable(site)
                );
            }
            Some(verdict) => {
                let none = match verdict.addresses.is_empty() {
                    true => "no address came",
                    false => "its address is none of the sites that answered",
                };
                let why = verdict.error.as_deref().unwrap_or(none);
                let _ = writeln!(
                    out,
                    "{} DNS: {}",
                    styled(CARE, "unknown"),
                    super::printable(why)
                );
            }
            None => {}
        }
    }
    out
}
