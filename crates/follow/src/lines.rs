//! A stream of entries as text.
//!
//! `{"entry":{…},"cursor":"…"}` a line, or the same as a server-sent event whose id is the
//! cursor; `{"gap":{…},"cursor":"…"}` where records can no longer be had. Whoever gives the last
//! cursor back gets what follows it: each matching entry comes once. While nothing is to be told,
//! an empty line (a comment) now and then shows that the stream lives.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use selvedge_bus::{Bus, BusError, Event, Start, Subscribe, Subscription};
use serde_json::json;

use crate::cursor::Cursor;
use crate::follow::Follow;
use crate::question::{Begin, Form, Question};

/// How often a stream with nothing to tell shows that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// A stream of entries.
pub struct Lines {
    subscription: Subscription,
    follow: Follow,
    question: Question,
    /// Written, not yet given out.
    ready: VecDeque<Bytes>,
}

impl Lines {
    /// Begins a stream. A slow reader slows nobody: the bus reads for him from the journals.
    ///
    /// # Errors
    /// When the bus is stopped or full.
    pub async fn begin(bus: &dyn Bus, question: Question) -> Result<Self, BusError> {
        let (follow, start) = match &question.begin {
            Begin::Now => (Follow::default(), Start::Now),
            Begin::Oldest => (Follow::default(), Start::Oldest),
            Begin::At(cursor) => (Follow::at(cursor), Start::Oldest),
        };
        let subscription = bus
            .subscribe(Subscribe {
                name: "http".to_owned(),
                from: follow.positions(),
                start,
                ..Subscribe::default()
            })
            .await?;
        Ok(Self {
            subscription,
            follow,
            question,
            ready: VecDeque::new(),
        })
    }

    /// The next piece of the stream; `None` when the bus has stopped.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let event = tokio::time::timeout(ALIVE_EVERY, self.subscription.next());
            match event.await {
                Ok(event) => self.take(&event?),
                Err(_) => return Some(self.alive()),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        let Self {
            follow,
            question,
            ready,
            ..
        } = self;
        match event {
            Event::Batch(batch) => {
                // Each record on its own, so that a cursor stands behind exactly what was told.
                for index in 0..batch.records.len() {
                    let at = batch.first + index as u64;
                    let Some(one) = batch.slice(at, at + 1) else {
                        continue;
                    };
                    let mut told = None;
                    follow.take(&one, |step| {
                        if step.completes(question.when) && question.filter.matches(step.entry) {
                            told = serde_json::to_string(step.entry).ok();
                        }
                    });
                    if let Some(entry) = told {
                        ready.push_back(piece(question.form, "entry", &entry, &follow.cursor()));
                    }
                }
            }
            Event::Gap {
                server,
                epoch,
                from,
                to,
            } => {
                follow.gap(server, *epoch, *from, *to);
                let to = (*to != Event::UNKNOWN_END).then_some(to);
                let gap = json!({"server": server, "epoch": epoch, "from": from, "to": to});
                let gap = gap.to_string();
                ready.push_back(piece(question.form, "gap", &gap, &follow.cursor()));
            }
            Event::Joined { .. } | Event::Left { .. } => {}
        }
    }

    fn alive(&self) -> Bytes {
        Bytes::from_static(match self.question.form {
            Form::Lines => b"\n",
            Form::Events => b":\n\n",
        })
    }
}

fn piece(form: Form, what: &str, json: &str, cursor: &Cursor) -> Bytes {
    let mut out = String::with_capacity(json.len() + 128);
    // Writing into a string does not fail. JSON as we write it has no line end within, and a
    // cursor nothing that JSON would escape.
    let _ = match form {
        Form::Lines => writeln!(out, "{{\"{what}\":{json},\"cursor\":\"{cursor}\"}}"),
        Form::Events => write!(out, "id: {cursor}\nevent: {what}\ndata: {json}\n\n"),
    };
    out.into()
}
