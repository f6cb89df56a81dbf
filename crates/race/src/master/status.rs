//! What `/api/v1/races` and `/metrics` show. Times are nanoseconds, instants those of the common
//! clock.

use std::fmt::Write as _;

use serde::Serialize;

/// Everything at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The master's run, 16 hexadecimal digits.
    pub epoch: String,
    /// Who races, or would.
    pub replicas: Vec<ReplicaStatus>,
    /// The delay that a race would get now.
    pub delay: i64,
    /// What is wrong with the delay.
    pub warning: Option<String>,
    /// The newest races, the newest first.
    pub races: Vec<RaceStatus>,
    /// What was counted.
    pub counts: Counts,
}

/// One replica.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub site: String,
    /// Where it hears the master.
    pub address: String,
    /// Whether it races.
    pub racing: bool,
    /// Why not.
    pub left_out: Option<&'static str>,
    /// Whose word its clock is told by.
    pub clock: &'static str,
    /// Common minus its own.
    pub offset: Option<i64>,
    /// How much slower its clock runs, in parts in a thousand million.
    pub drift_ppb: Option<i64>,
    /// The error on symmetric paths.
    pub noise: Option<i64>,
    /// The error on any path.
    pub bound: Option<i64>,
    /// The shortest round trip in the last minute.
    pub round_trip: Option<i64>,
    /// The longest way there in the last minute.
    pub longest_one_way: Option<i64>,
    /// Exchanges that count now.
    pub exchanges: usize,
    /// So much later it answers.
    pub handicap: i64,
    /// Probes sent.
    pub probes: u64,
    /// Echoes that answered one.
    pub echoes: u64,
    /// Exchanges that could not be.
    pub exchanges_refused: u64,
    /// Jumps of its clock.
    pub jumps: u64,
    /// Times it ran anew.
    pub restarts: u64,
    /// Answers it sent.
    pub sent: u64,
    /// Races in which it said that it is silent.
    pub silent: u64,
    /// Races of which it said nothing.
    pub missed: u64,
    /// Times it was left out for that.
    pub left_out_times: u64,
    /// Races it won.
    pub wins: u64,
}

/// One race.
#[derive(Clone, Debug, Serialize)]
pub struct RaceStatus {
    /// Its name.
    pub race: String,
    /// `dns` or `client`.
    pub kind: &'static str,
    /// Who asked.
    pub client: String,
    /// Which address.
    pub service: String,
    /// `time` or `signal`.
    pub event: &'static str,
    /// When the answers were due.
    pub instant: i64,
    /// How long after the stamp that was.
    pub delay: i64,
    /// What each replica did.
    pub sites: Vec<SentStatus>,
    /// Whether the master answered, because all were silent.
    pub by_master: bool,
    /// Who won.
    pub winner: Option<String>,
    /// `dns` or `client`: who saw it.
    pub evidence: Option<&'static str>,
    /// Where DNS sends this client.
    pub dns: Option<String>,
}

/// What a replica did in a race.
#[derive(Clone, Debug, Serialize)]
pub struct SentStatus {
    /// Which.
    pub site: String,
    /// When its answer left.
    pub sent: Option<i64>,
    /// So long after it was due there.
    pub late: Option<i64>,
    /// Why it was silent; `nothing heard` if it did not say.
    pub silent: Option<&'static str>,
    /// So long after the first the client had it.
    pub gap: Option<u64>,
}

/// What a master counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Races started.
    pub races: u64,
    /// Refused: fewer than two replicas.
    pub refused_too_few: u64,
    /// Refused: the queue is full.
    pub refused_busy: u64,
    /// Refused: no address of a client.
    pub refused_client: u64,
    /// Refused: too long, or families that differ.
    pub refused_request: u64,
    /// Refused: one address asked too often.
    pub refused_often: u64,
    /// Races that the master answered.
    pub by_master: u64,
    /// Races whose delay was not above the longest way.
    pub short_delays: u64,
    /// Questions of clients that proved no address: each got one short answer.
    pub challenged: u64,
    /// Datagrams that are none of ours.
    pub foreign: u64,
    /// Frames not proven by a replica's key, or from unknown addresses.
    pub forged: u64,
    /// Frames that answer nothing: recorded, or very late.
    pub unasked: u64,
    /// Outcomes told by clients.
    pub outcomes: u64,
    /// Of these: with a verdict of DNS.
    pub dns_compared: u64,
    /// Of these: DNS was right.
    pub dns_right: u64,
}

impl Status {
    /// In Prometheus' text form.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut out = String::new();
        let c = &self.counts;
        for (name, value) in [
            ("races", c.races),
            ("refused_too_few", c.refused_too_few),
            ("refused_busy", c.refused_busy),
            ("refused_client", c.refused_client),
            ("refused_request", c.refused_request),
            ("refused_often", c.refused_often),
            ("by_master", c.by_master),
            ("short_delays", c.short_delays),
            ("challenged", c.challenged),
            ("foreign", c.foreign),
            ("forged", c.forged),
            ("unasked", c.unasked),
            ("outcomes", c.outcomes),
            ("dns_compared", c.dns_compared),
            ("dns_right", c.dns_right),
        ] {
            let _ = writeln!(
                out,
                "# TYPE selvedge_race_{name} counter\nselvedge_race_{name}_total {value}"
            );
        }
        let _ = writeln!(
            out,
            "# TYPE selvedge_race_delay_seconds gauge\nselvedge_race_delay_seconds {}",
            seconds(self.delay)
        );
        type Gauge = (&'static str, fn(&ReplicaStatus) -> Option<f64>);
        let gauges: [Gauge; 8] = [
            ("racing", |r| Some(f64::from(u8::from(r.racing)))),
            ("clock_offset_seconds", |r| r.offset.map(seconds)),
            ("clock_drift_ppb", |r| r.drift_ppb.map(number)),
            ("clock_noise_seconds", |r| r.noise.map(seconds)),
            ("clock_bound_seconds", |r| r.bound.map(seconds)),
            ("round_trip_seconds", |r| r.round_trip.map(seconds)),
            ("longest_one_way_seconds", |r| {
                r.longest_one_way.map(seconds)
            }),
            ("handicap_seconds", |r| Some(seconds(r.handicap))),
        ];
        for (name, value) in gauges {
            let _ = writeln!(out, "# TYPE selvedge_race_replica_{name} gauge");
            for replica in &self.replicas {
                if let Some(value) = value(replica) {
                    let _ = writeln!(
                        out,
                        "selvedge_race_replica_{name}{{site=\"{}\"}} {value}",
                        replica.site
                    );
                }
            }
        }
        type Counter = (&'static str, fn(&ReplicaStatus) -> u64);
        let counters: [Counter; 10] = [
            ("probes", |r| r.probes),
            ("echoes", |r| r.echoes),
            ("exchanges_refused", |r| r.exchanges_refused),
            ("clock_jumps", |r| r.jumps),
            ("restarts", |r| r.restarts),
            ("sent", |r| r.sent),
            ("silent", |r| r.silent),
            ("missed", |r| r.missed),
            ("left_out", |r| r.left_out_times),
            ("wins", |r| r.wins),
        ];
        for (name, value) in counters {
            let _ = writeln!(out, "# TYPE selvedge_race_replica_{name} counter");
            for replica in &self.replicas {
                let _ = writeln!(
                    out,
                    "selvedge_race_replica_{name}_total{{site=\"{}\"}} {}",
                    replica.site,
                    value(replica)
                );
            }
        }
        out
    }
}

fn seconds(nanos: i64) -> f64 {
    number(nanos) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "for charts")]
fn number(value: i64) -> f64 {
    value as f64
}
