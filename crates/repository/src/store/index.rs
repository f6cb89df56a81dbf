//! What the store knows of its entries without reading them: where they lie and how to find them.
//!
//! An entry costs about 140 bytes here: the places of its records and the few values that
//! searches compare. Entries of one origin, and of one session, are chained through the rows;
//! everything else is read from the files when asked for. The index is a fold over records and
//! spans: what it answers does not depend on the order in which they came. What a request's
//! entries and spans make together stands in [`super::origins`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use selvedge_entry::{Direction, Opening, Outcome, Record};
use selvedge_identity::{ClientId, Epoch, Origin, ServerName, SessionId};

use super::journals::{EpochId, Journals};
use super::names::{NameId, Names};
use super::origins::{Dirty, OriginRow};
use super::segments::Location;
use super::spans::Spans;
use super::verdicts::Tally;

/// A row's number in its table.
pub(crate) type Row = u32;

/// No row: the end of a chain.
pub(crate) const NONE: Row = Row::MAX;

/// A record's sequence and place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) sequence: u64,
    pub(crate) at: Location,
}

/// One entry.
#[derive(Debug)]
pub(crate) struct EntryRow {
    pub(crate) opening: Location,
    pub(crate) effect: Option<Placed>,
    pub(crate) closing: Option<Placed>,
    pub(crate) epoch: EpochId,
    pub(crate) sequence: u64,
    pub(crate) start: i64,
    /// Valid once it ended.
    pub(crate) duration: u64,
    pub(crate) service: NameId,
    pub(crate) operation: NameId,
    pub(crate) depth: u32,
    pub(crate) direction: Direction,
    pub(crate) outcome: Outcome,
    /// Whether its end is known.
    pub(crate) ended: bool,
    /// Whether it is an action of its session.
    pub(crate) action: bool,
    /// Its request.
    pub(crate) origin: Row,
    pub(crate) next_in_origin: Row,
    pub(crate) next_in_session: Row,
}

/// One visit.
#[derive(Debug)]
pub(crate) struct SessionRow {
    pub(crate) session: SessionId,
    /// The client that its earliest entry names.
    pub(crate) client: Option<(i64, ClientId)>,
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// How many actions it has.
    pub(crate) actions: u64,
    pub(crate) head: Row,
    pub(crate) origins: Vec<Row>,
}

/// One client.
#[derive(Debug, Default)]
pub(crate) struct ClientRow {
    pub(crate) origins: Vec<Row>,
    pub(crate) sessions: Vec<Row>,
}

/// One service.
#[derive(Debug, Default)]
pub(crate) struct ServiceRow {
    pub(crate) operations: BTreeSet<NameId>,
    pub(crate) versions: BTreeSet<NameId>,
    pub(crate) hosts: BTreeSet<NameId>,
    pub(crate) origins: Vec<Row>,
    pub(crate) entries: u64,
    pub(crate) errors: u64,
    pub(crate) last: i64,
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) journals: Journals,
    pub(crate) names: Names,
    pub(crate) entries: Vec<EntryRow>,
    pub(crate) spans: Spans,
    pub(crate) origins: Vec<OriginRow>,
    pub(crate) sessions: Vec<SessionRow>,
    pub(crate) by_origin: HashMap<Origin, Row>,
    pub(crate) by_session: HashMap<SessionId, Row>,
    pub(crate) clients: HashMap<ClientId, ClientRow>,
    pub(crate) services: BTreeMap<NameId, ServiceRow>,
    /// Requests by the start of what stands for them.
    pub(crate) by_start: BTreeMap<(i64, Origin), Row>,
    /// Visits by their last action.
    pub(crate) by_last: BTreeMap<(i64, SessionId), Row>,
    /// Requests that changed since they were judged.
    pub(crate) dirty: Dirty,
    /// What the verdicts on all requests come to.
    pub(crate) tally: Tally,
    /// Records and spans that no version of ours can read: kept in the files, in no answer.
    pub(crate) unreadable: u64,
}

impl Index {
    /// Takes a record that was not seen before.
    pub(crate) fn insert(&mut self, epoch: EpochId, sequence: u64, record: &Record, at: Location) {
        let placed = Placed { sequence, at };
        match record {
            Record::Opening(opening) => self.open(epoch, placed, opening),
            Record::Whole(opening, closing) => {
                self.open(epoch, placed, opening);
                let row = (self.entries.len() - 1) as Row;
                self.end(row, closing.outcome, closing.duration_ns);
            }
            Record::Effect { opening, .. } => match self.journals.find_open(epoch, *opening) {
                Some(row) => self.take_effect(row, placed),
                None => self.journals.wait(epoch, *opening, record.clone(), placed),
            },
            Record::Closing { opening, closing } => {
                match self.journals.find_open(epoch, *opening) {
                    Some(row) => {
                        self.take_closing(row, closing.outcome, closing.duration_ns, placed);
                    }
                    None => self.journals.wait(epoch, *opening, record.clone(), placed),
                }
            }
            // Kept in the files, as all there is; the action that sent it is an entry.
            Record::Broadcast { .. } => {}
        }
    }

    /// The rows of one chain by session.
    pub(crate) fn session_chain(
        &self,
        session: &SessionRow,
    ) -> impl Iterator<Item = (Row, &EntryRow)> {
        self.follow(session.head, |entry| entry.next_in_session)
    }

    pub(crate) fn follow<'a>(
        &'a self,
        head: Row,
        next: impl Fn(&EntryRow) -> Row + 'a,
    ) -> impl Iterator<Item = (Row, &'a EntryRow)> + 'a {
        let mut row = head;
        std::iter::from_fn(move || {
            let entry = self.entries.get(row as usize)?;
            let found = (row, entry);
            row = next(entry);
            Some(found)
        })
    }

    fn open(&mut self, epoch: EpochId, placed: Placed, opening: &Opening) {
        let row = self.entries.len() as Row;
        let service = self.names.intern(&opening.service);
        let start = opening.at.0;
        self.entries.push(EntryRow {
            opening: placed.at,
            effect: None,
            closing: None,
            epoch,
            sequence: placed.sequence,
            start,
            duration: 0,
            service,
            operation: self.names.intern(&opening.action),
            depth: opening
                .call
                .as_ref()
                .map_or(0, |call| call.identifier.depth()),
            direction: opening.direction,
            outcome: Outcome::Unknown,
            ended: false,
            action: opening.counter.is_some(),
            origin: NONE,
            next_in_origin: NONE,
            next_in_session: NONE,
        });
        self.count_service(row, opening);
        let origin = opening
            .call
            .as_ref()
            .map(|call| self.chain_origin(row, call.identifier.origin()));
        if let Some(origin) = origin {
            push_once(
                &mut self.services.entry(service).or_default().origins,
                origin,
            );
        }
        let session = opening
            .session
            .map(|session| self.chain_session(row, session, opening.client, origin));
        if let Some(client) = opening.client {
            let client = self.clients.entry(client).or_default();
            if let Some(origin) = origin {
                push_once(&mut client.origins, origin);
            }
            if let Some(session) = session {
                push_once(&mut client.sessions, session);
            }
        }
        for (record, placed) in self.journals.open(epoch, placed.sequence, row) {
            match record {
                Record::Effect { .. } => self.take_effect(row, placed),
                Record::Closing { closing, .. } => {
                    self.take_closing(row, closing.outcome, closing.duration_ns, placed);
                }
                Record::Opening(_) | Record::Whole(..) | Record::Broadcast { .. } => {}
            }
        }
    }

    fn take_effect(&mut self, row: Row, placed: Placed) {
        let entry = &mut self.entries[row as usize];
        // A sound journal has one effect an entry; of several the first counts.
        if entry
            .effect
            .is_none_or(|known| placed.sequence < known.sequence)
        {
            entry.effect = Some(placed);
        }
        let origin = entry.origin;
        if let Some(closing) = entry.closing {
            let (epoch, opening) = (entry.epoch, entry.sequence);
            self.journals.close(epoch, opening, closing.sequence);
        }
        self.touch(origin);
    }

    fn take_closing(&mut self, row: Row, outcome: Outcome, duration: u64, placed: Placed) {
        let entry = &mut self.entries[row as usize];
        if entry
            .closing
            .is_some_and(|known| known.sequence <= placed.sequence)
        {
            return;
        }
        entry.closing = Some(placed);
        let (epoch, opening, origin) = (entry.epoch, entry.sequence, entry.origin);
        self.end(row, outcome, duration);
        self.journals.close(epoch, opening, placed.sequence);
        self.touch(origin);
    }

    fn end(&mut self, row: Row, outcome: Outcome, duration: u64) {
        let entry = &mut self.entries[row as usize];
        let failed = |outcome| u64::from(outcome == Outcome::Error);
        let service = self.services.entry(entry.service).or_default();
        service.errors = service.errors + failed(outcome) - failed(entry.outcome);
        entry.outcome = outcome;
        entry.duration = duration;
        entry.ended = true;
    }

    fn count_service(&mut self, row: Row, opening: &Opening) {
        let EntryRow {
            service,
            operation,
            start,
            direction,
            ..
        } = self.entries[row as usize];
        // What a service calls is the callee's operation.
        let operation = (direction != Direction::Outbound).then_some(operation);
        self.count(service, operation, Some(&opening.version), &opening.host);
        self.services
            .entry(service)
            .or_default()
            .began(start, false);
    }

    /// Counts an entry or a span of a service.
    pub(crate) fn count(
        &mut self,
        service: NameId,
        operation: Option<NameId>,
        version: Option<&str>,
        host: &str,
    ) {
        let version = version.map(|version| self.names.intern(version));
        let host = self.names.intern(host);
        let service = self.services.entry(service).or_default();
        service.entries += 1;
        service.operations.extend(operation);
        service.versions.extend(version);
        service.hosts.insert(host);
    }

    fn chain_session(
        &mut self,
        row: Row,
        session: SessionId,
        client: Option<ClientId>,
        origin: Option<Row>,
    ) -> Row {
        let EntryRow { start, action, .. } = self.entries[row as usize];
        let sessions = &mut self.sessions;
        let number = *self.by_session.entry(session).or_insert_with(|| {
            sessions.push(SessionRow {
                session,
                client: None,
                first: 0,
                last: 0,
                actions: 0,
                head: NONE,
                origins: Vec::new(),
            });
            (sessions.len() - 1) as Row
        });
        let visit = &mut self.sessions[number as usize];
        self.entries[row as usize].next_in_session = std::mem::replace(&mut visit.head, row);
        if let Some(origin) = origin {
            push_once(&mut visit.origins, origin);
        }
        if let Some(client) = client {
            let named = (start, client);
            visit.client = Some(visit.client.map_or(named, |known| known.min(named)));
        }
        // Only actions stand in a timeline, so only they make a visit's row.
        if action {
            if visit.actions > 0 {
                self.by_last.remove(&(visit.last, session));
                visit.first = visit.first.min(start);
                visit.last = visit.last.max(start);
            } else {
                (visit.first, visit.last) = (start, start);
            }
            visit.actions += 1;
            self.by_last.insert((visit.last, session), number);
        }
        number
    }
}

impl ServiceRow {
    /// Takes the start of something of its, which may have failed.
    pub(crate) fn began(&mut self, start: i64, failed: bool) {
        self.last = match self.entries {
            1 => start,
            _ => self.last.max(start),
        };
        self.errors += u64::from(failed);
    }
}

/// Postings come in bursts of one value: the last is compared, queries remove what repeats.
pub(crate) fn push_once(rows: &mut Vec<Row>, row: Row) {
    if rows.last() != Some(&row) {
        rows.push(row);
    }
}

/// The rows of one entry's records, to read it from the files.
#[derive(Clone, Debug)]
pub(crate) struct EntryRef {
    pub(crate) server: ServerName,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: u64,
    pub(crate) opening: Location,
    pub(crate) effect: Option<Placed>,
    pub(crate) closing: Option<Placed>,
}

impl EntryRef {
    /// The reference of a row.
    pub(crate) fn of(index: &Index, entry: &EntryRow) -> Self {
        let (server, epoch) = index.journals.name(entry.epoch);
        Self {
            server: server.clone(),
            epoch,
            sequence: entry.sequence,
            opening: entry.opening,
            effect: entry.effect,
            closing: entry.closing,
        }
    }

    /// What sorts entries: their positions.
    pub(crate) fn position(&self) -> (&ServerName, Epoch, u64) {
        (&self.server, self.epoch, self.sequence)
    }
}
