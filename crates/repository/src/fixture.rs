//! Made-up journals for tests: entries as specs, records as a server would write them.

use bytes::Bytes;
use proptest::prelude::*;
use selvedge_entry::{
    Call, Closing, Data, Direction, Effect, Follow, Opening, Outcome, Record, Timestamp,
};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId,
    StackId,
};
use selvedge_journal::EpochStart;

/// One entry to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) origin: Option<u8>,
    pub(crate) session: Option<u8>,
    pub(crate) client: Option<u8>,
    pub(crate) direction: Direction,
    pub(crate) depth: u32,
    /// The interaction ids of the call and those above it, oldest first.
    pub(crate) stack: Vec<u8>,
    pub(crate) service: u8,
    pub(crate) action: u8,
    pub(crate) counter: Option<u64>,
    pub(crate) after: Vec<Position>,
    pub(crate) at: i64,
    pub(crate) duration: u64,
    pub(crate) outcome: Outcome,
    pub(crate) flag: bool,
    pub(crate) attribute: Option<u8>,
    pub(crate) form: Form,
    /// Openings written between it and its later records.
    pub(crate) lag: usize,
}

/// Which records it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    Opening,
    OpeningEffect,
    OpeningClosing,
    All,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            origin: Some(1),
            session: None,
            client: None,
            direction: Direction::Inbound,
            depth: 0,
            stack: vec![1],
            service: 1,
            action: 1,
            counter: None,
            after: Vec::new(),
            at: 0,
            duration: 1_000_000,
            outcome: Outcome::Ok,
            flag: false,
            attribute: None,
            form: Form::All,
            lag: 0,
        }
    }
}

pub(crate) fn origin(n: u8) -> Origin {
    Origin::new(u64::from(n), [n; 10])
}

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

pub(crate) fn client(n: u8) -> ClientId {
    ClientId::from_random([n; 16])
}

pub(crate) fn service(n: u8) -> String {
    format!("service-{n}")
}

pub(crate) fn action(n: u8) -> String {
    format!("GET /{n}")
}

pub(crate) fn server(n: usize) -> ServerName {
    format!("content-{n}").parse().unwrap()
}

pub(crate) fn epoch(server: usize, counter: usize) -> Epoch {
    Epoch {
        counter: counter as u32 + 1,
        random: (server * 1000 + counter) as u64,
    }
}

fn opening(spec: &Spec) -> Opening {
    let identifier = |origin| {
        let ids: Vec<StackId> = spec
            .stack
            .iter()
            .filter_map(|id| StackId::new(&[*id; 4]))
            .collect();
        RequestIdentifier::from_parts(origin, spec.depth, 6, &ids).expect("a valid spec")
    };
    Opening {
        session: spec.session.map(session),
        client: spec.client.map(client),
        counter: spec.counter,
        after: spec
            .after
            .iter()
            .map(|position| Follow {
                position: position.clone(),
                effect: position.sequence,
            })
            .collect(),
        call: spec.origin.map(|n| Call {
            identifier: identifier(origin(n)),
            interaction: spec
                .stack
                .last()
                .map(|id| Interaction::from_random([*id; 8])),
            peer: None,
            peer_host: None,
        }),
        version: "1.0".into(),
        host: "10.0.0.1".into(),
        request: Data {
            fields: vec![("path".into(), format!("/{}", spec.action).into())],
            ..Data::default()
        },
        flags: if spec.flag {
            vec!["odd".into()]
        } else {
            Vec::new()
        },
        ..Opening::new(
            spec.direction,
            service(spec.service),
            action(spec.action),
            Timestamp(spec.at),
        )
    }
}

fn effect(spec: &Spec) -> Effect {
    Effect {
        after_ns: spec.duration / 2,
        status: status(spec.outcome),
        outcome: spec.outcome,
        attributes: Vec::new(),
        state: Vec::new(),
    }
}

fn closing(spec: &Spec) -> Closing {
    Closing {
        duration_ns: spec.duration,
        status: status(spec.outcome),
        outcome: spec.outcome,
        error: (spec.outcome == Outcome::Error).then(|| "it broke".into()),
        work: 7,
        request_bytes: 1,
        response_bytes: 2,
        attributes: spec
            .attribute
            .map(|n| ("colour".into(), n.to_string().into()))
            .into_iter()
            .collect(),
        ..Closing::default()
    }
}

fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Ok => 200,
        Outcome::Refused => 404,
        Outcome::Error => 500,
        Outcome::Unknown => 0,
    }
}

/// The records of one epoch, with its first one.
pub(crate) fn records(
    epoch: Epoch,
    previous: Option<(Epoch, u64)>,
    specs: &[Spec],
) -> Vec<Written> {
    let start = EpochStart {
        epoch,
        volatile: false,
        previous,
    };
    let mut out = vec![Written::Start(start)];
    out.extend(records_from(1, specs));
    out
}

/// The records of entries, the first of which has this sequence.
pub(crate) fn records_from(first: u64, specs: &[Spec]) -> Vec<Written> {
    let mut out = Vec::new();
    let mut later: Vec<(usize, Record)> = Vec::new();
    for (n, spec) in specs.iter().enumerate() {
        let at = first + out.len() as u64;
        let open = Box::new(opening(spec));
        let close = Box::new(closing(spec));
        if spec.form == Form::Whole {
            out.push(Written::Entry(Record::Whole(open, close)));
        } else {
            out.push(Written::Entry(Record::Opening(open)));
            if matches!(spec.form, Form::OpeningEffect | Form::All) {
                let effect = effect(spec);
                later.push((
                    n + spec.lag,
                    Record::Effect {
                        opening: at,
                        effect,
                    },
                ));
            }
            if matches!(spec.form, Form::OpeningClosing | Form::All) {
                let closing = close;
                later.push((
                    n + 2 * spec.lag,
                    Record::Closing {
                        opening: at,
                        closing,
                    },
                ));
            }
        }
        let (due, rest) = later.into_iter().partition(|(due, _)| *due <= n);
        let due: Vec<(usize, Record)> = due;
        out.extend(due.into_iter().map(|(_, record)| Written::Entry(record)));
        later = rest;
    }
    out.extend(later.into_iter().map(|(_, record)| Written::Entry(record)));
    out
}

/// A record of a journal, its own ones too.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Start(EpochStart),
    Entry(Record),
}

impl Written {
    /// Whether an entry begins with it.
    pub(crate) fn opens(&self) -> bool {
        matches!(self, Self::Entry(Record::Opening(_) | Record::Whole(..)))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        match self {
            Self::Start(start) => start.encode().into(),
            Self::Entry(record) => {
                let mut out = Vec::new();
                record.encode(&mut out);
                out.into()
            }
        }
    }
}

/// Any entry, of small pools, so that origins, sessions and names meet.
pub(crate) fn specs() -> impl Strategy<Value = Spec> {
    let names = (
        prop::option::weighted(0.9, 1u8..5),
        prop::option::weighted(0.7, 1u8..4),
        prop::option::weighted(0.6, 1u8..3),
        1u8..4,
        1u8..4,
    );
    let place = (
        prop_oneof![
            3 => Just(Direction::Inbound),
            1 => Just(Direction::Outbound),
            1 => Just(Direction::Internal)
        ],
        0u32..4,
        prop::collection::vec(1u8..9, 1..4),
        prop::option::of(1u64..50),
    );
    let end = (
        0i64..1000,
        0u64..100,
        prop_oneof![
            4 => Just(Outcome::Ok),
            1 => Just(Outcome::Refused),
            1 => Just(Outcome::Error)
        ],
        prop::bool::weighted(0.1),
        prop::option::weighted(0.3, 1u8..3),
        prop_oneof![
            Just(Form::Whole),
            Just(Form::Opening),
            Just(Form::OpeningEffect),
            Just(Form::OpeningClosing),
            Just(Form::All)
        ],
        0usize..5,
    );
    (names, place, end).prop_map(|(names, place, end)| Spec {
        origin: names.0,
        session: names.1,
        client: names.2,
        service: names.3,
        action: names.4,
        direction: place.0,
        depth: place.1,
        stack: place.2,
        // Only an action of a session has a counter.
        counter: place.3.filter(|_| names.1.is_some()),
        after: Vec::new(),
        at: end.0,
        duration: end.1,
        outcome: end.2,
        flag: end.3,
        attribute: end.4,
        form: end.5,
        lag: end.6,
    })
}
