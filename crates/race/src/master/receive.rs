//! What comes to the master's socket: replicas' frames, and clients that race.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use selvedge_clock::{Local, Nanos};

use super::shell::Shared;
use crate::contest::{Call, Kind};
use crate::net;
use crate::wire::client::{cookie, proves};
use crate::wire::{Ask, ClientFrame, FRAME_MAX, Frame, Outcome, Side};

/// How long a cookie is made for: a minute; it holds one more.
const COOKIE_PERIOD: Nanos = 60_000_000_000;

impl Shared {
    pub(super) fn receive(&self) {
        let mut buffer = [0; FRAME_MAX + 1];
        while !self.stopped.load(Ordering::Relaxed) {
            let Ok(received) = net::receive(&self.socket, &self.clock(), &mut buffer) else {
                continue;
            };
            let bytes = &buffer[..received.length];
            match ClientFrame::decode(bytes) {
                Some(ClientFrame::Ask(ask)) => self.ask(&ask, bytes, received.from, received.at),
                Some(ClientFrame::Outcome(outcome)) => self.outcome(&outcome, received.from),
                Some(_) => self.state().counts.foreign += 1,
                None => self.replica(bytes, received.from, received.at),
            }
        }
    }

    /// A replica's frame.
    fn replica(&self, bytes: &[u8], from: SocketAddr, at: Local) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(place) = state.roster.iter().position(|entry| entry.address == from) else {
            state.counts.foreign += 1;
            return;
        };
        let entry = &mut state.roster[place];
        let Ok((header, frame)) = Frame::open(bytes, Side::Replica, &entry.site, &self.with.keys)
        else {
            state.counts.forged += 1;
            entry.counts.forged += 1;
            if entry.counts.forged.is_power_of_two() {
                tracing::warn!(
                    site = entry.site,
                    times = entry.counts.forged,
                    "frames from a replica's address that the fleet's keys do not prove"
                );
            }
            return;
        };
        let asked = header.epoch == self.epoch
            && match frame {
                Frame::Echo(echo) => {
                    let returned = self.common(at);
                    let master = self.disciplined.now().map(|external| external.bound);
                    entry.echoed(header.sequence, &echo, returned, at, master)
                }
                Frame::Report(report) => state.reported(place, &report),
                _ => false,
            };
        if !asked {
            state.counts.unasked += 1;
        }
    }

    fn ask(&self, ask: &Ask, bytes: &[u8], from: SocketAddr, at: Local) {
        let period = self.period();
        if !proves(&self.with.keys, from, &ask.cookie, period) {
            self.state().counts.challenged += 1;
            let cookie = cookie(&self.with.keys, from, period);
            self.reply(
                from,
                &ClientFrame::Challenge {
                    nonce: ask.nonce,
                    cookie,
                },
            );
            return;
        }
        let allowed = self.state().asks.allow(from.ip(), at);
        let started = if allowed {
            self.start(Call {
                kind: Kind::Client,
                client: from,
                service: self.address,
                request: bytes.to_vec(),
                received: Some(at),
                incumbent: None,
            })
            .map_err(|refused| refused.to_string())
        } else {
            self.state().counts.refused_often += 1;
            Err("this address asks too often".to_owned())
        };
        if let Err(reason) = started {
            self.reply(
                from,
                &ClientFrame::Refused {
                    nonce: ask.nonce,
                    reason,
                },
            );
        }
    }

    fn period(&self) -> u64 {
        u64::try_from(self.common(self.clock().now()).0 / COOKIE_PERIOD).unwrap_or(0)
    }

    fn reply(&self, to: SocketAddr, frame: &ClientFrame) {
        if let Err(error) = self.socket.send_to(&frame.encode(), to) {
            tracing::debug!(%error, %to, "a client was not told");
        }
    }

    fn outcome(&self, outcome: &Outcome, from: SocketAddr) {
        let proven = proves(&self.with.keys, from, &outcome.cookie, self.period());
        let mut state = self.state();
        if !proven || outcome.race.epoch != self.epoch || !state.outcome(outcome, from) {
            state.counts.unasked += 1;
        }
    }
}
