//! What the viewer did, as text for people or as JSON lines for programs.
//!
//! JSON lines tell every send and every receipt, in the order in which this program saw them
//! (`at` counts them), so a reader can tell which requests were before which. Text has one line a
//! request, once its answer is read.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::listen::Came;
use crate::{Carried, Summary};

/// Characters of a broadcast's content that are shown in a line of text.
const SHOWN_MAX: usize = 200;

/// A request, as every line about it names it.
pub(crate) struct Sent {
    pub(crate) request: u64,
    pub(crate) step: String,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
}

/// An answer that was read to its end.
pub(crate) struct Done {
    pub(crate) status: u16,
    pub(crate) server: Option<String>,
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
    pub(crate) answer: Option<Value>,
    pub(crate) note: String,
}

pub(crate) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    json: bool,
    at: u64,
}

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut (dyn Write + Send), json: bool) -> Self {
        Self { out, json, at: 0 }
    }

    pub(crate) fn begin(&mut self, session: Option<&str>) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        if let Some(session) = session {
            writeln!(self.out, "going on with session {session}")?;
        }
        writeln!(
            self.out,
            "{:>5}  {:<16} {:>6}  {:<16} {:>10}  what came",
            "#", "request", "status", "server", "time"
        )
    }

    pub(crate) fn sent(&mut self, sent: &Sent, carried: &Carried) -> io::Result<()> {
        self.event(sent, "sent", json!({ "tokens": carried.sessions.len() }))
    }

    /// The answer's headers came.
    pub(crate) fn received(
        &mut self,
        sent: &Sent,
        status: u16,
        token: Option<&str>,
    ) -> io::Result<()> {
        self.event(
            sent,
            "received",
            json!({ "status": status, "token": token }),
        )
    }

    pub(crate) fn done(&mut self, sent: &Sent, done: &Done) -> io::Result<()> {
        if self.json {
            return self.event(
                sent,
                "done",
                json!({
                    "status": done.status,
                    "server": done.server,
                    "duration": done.duration.as_nanos() as u64,
                    "bytes": done.bytes,
                    "answer": done.answer,
                    "note": done.note,
                }),
            );
        }
        self.line(
            sent,
            &done.status.to_string(),
            done.server.as_deref(),
            done.duration,
            &done.note,
        )
    }

    pub(crate) fn failed(&mut self, sent: &Sent, took: Duration, why: &str) -> io::Result<()> {
        if self.json {
            return self.event(sent, "failed", json!({ "error": why }));
        }
        self.line(sent, "-", None, took, why)
    }

    /// It listens to broadcasts from now on.
    pub(crate) fn listening(&mut self, to: &str) -> io::Result<()> {
        if self.json {
            return self.broadcasts("listening", json!({ "to": to }));
        }
        writeln!(self.out, "listens to {to}")
    }

    /// It hears nothing just now.
    pub(crate) fn broken(&mut self, why: &str) -> io::Result<()> {
        if self.json {
            return self.broadcasts("broken", json!({ "error": why }));
        }
        writeln!(self.out, "broadcasts broke off: {why}")
    }

    /// A broadcast came. `missed`: how many did not, as far as is known.
    pub(crate) fn broadcast(&mut self, came: &Came, missed: u64) -> io::Result<()> {
        let content = String::from_utf8_lossy(&came.content);
        if self.json {
            let more = json!({
                "broadcast": came.name,
                "content_type": came.content_type,
                "content": content,
                "bytes": came.content.len(),
                "addressed": came.head.is_some(),
                "missed": missed,
            });
            return self.broadcasts("broadcast", more);
        }
        let addressed = if came.head.is_some() { " to us" } else { "" };
        let shown: String = content.chars().take(SHOWN_MAX).collect();
        writeln!(
            self.out,
            "broadcast{addressed} {}: {} bytes {}: {}",
            came.name,
            came.content.len(),
            came.content_type,
            shown.escape_debug(),
        )
    }

    /// A line about broadcasts, in JSON.
    fn broadcasts(&mut self, event: &str, mut more: Value) -> io::Result<()> {
        self.at += 1;
        more["event"] = event.into();
        more["at"] = self.at.into();
        writeln!(self.out, "{more}")?;
        // Whoever waits for it may be waiting now.
        self.out.flush()
    }

    pub(crate) fn end(&mut self, summary: &Summary) -> io::Result<()> {
        if self.json {
            let mut line = serde_json::to_value(summary)?;
            line["event"] = "end".into();
            return writeln!(self.out, "{line}");
        }
        writeln!(
            self.out,
            "session {}: {} sent, {} answered, {} refused, {} failed, {} of its orders not seen",
            summary.session.as_deref().unwrap_or("none"),
            summary.sent,
            summary.answered,
            summary.refused,
            summary.failed,
            summary.orders_unseen,
        )?;
        let servers: Vec<String> = summary
            .servers
            .iter()
            .map(|(server, count)| format!("{server} {count}"))
            .collect();
        if !servers.is_empty() {
            writeln!(self.out, "answered by: {}", servers.join(", "))?;
        }
        Ok(())
    }

    fn event(&mut self, sent: &Sent, event: &str, more: Value) -> io::Result<()> {
        self.at += 1;
        if !self.json {
            return Ok(());
        }
        let mut line = json!({
            "event": event,
            "at": self.at,
            "request": sent.request,
            "step": sent.step,
            "method": sent.method,
            "path": sent.path,
        });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        writeln!(self.out, "{line}")
    }

    fn line(
        &mut self,
        sent: &Sent,
        status: &str,
        server: Option<&str>,
        took: Duration,
        note: &str,
    ) -> io::Result<()> {
        let request = format!("{} {}", sent.method, sent.path);
        let took = format!("{:.1} ms", took.as_secs_f64() * 1000.0);
        writeln!(
            self.out,
            "{:>5}  {request:<16} {status:>6}  {:<16} {took:>10}  {note}",
            sent.request,
            server.unwrap_or("-"),
        )
    }
}
