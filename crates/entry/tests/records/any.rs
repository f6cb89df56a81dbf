//! Generators of any entry's parts, shared by the tests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use selvedge_entry::{
    Call, Closing, Data, Direction, Effect, Fields, Follow, Link, Opening, Outcome, Record,
    StateWrite, Text, Timestamp,
};
use selvedge_identity::{
    ClientId, Epoch, Interaction, Origin, Position, RequestIdentifier, ServerName, SessionId,
    StackId,
};

pub(crate) fn text() -> impl Strategy<Value = Text> {
    "\\PC{0,12}".prop_map(Text::from)
}

pub(crate) fn fields() -> impl Strategy<Value = Fields> {
    vec((text(), text()), 0..4)
}

pub(crate) fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        Just(Outcome::Refused),
        Just(Outcome::Error),
        Just(Outcome::Unknown)
    ]
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    ("[a-z0-9][a-z0-9._-]{0,20}", any::<(u32, u64, u64)>()).prop_map(
        |(server, (counter, random, sequence))| Position {
            server: ServerName::new(&server).unwrap(),
            epoch: Epoch { counter, random },
            sequence,
        },
    )
}

pub(crate) fn data() -> impl Strategy<Value = Data> {
    let body = prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 4090..4100),
    ];
    (fields(), option::of(body), any::<bool>()).prop_map(|(fields, body, truncated)| Data {
        fields,
        body: body.map(Bytes::from),
        truncated,
    })
}

pub(crate) fn identifier() -> impl Strategy<Value = RequestIdentifier> {
    let stack = prop_oneof![
        vec(vec(any::<u8>(), 4), 1..=16),
        vec(vec(any::<u8>(), 1..=8), 1..=16),
    ];
    (any::<[u8; 16]>(), 0..1_u32 << 30, 0..16_u8, stack).prop_map(|(origin, depth, more, stack)| {
        let ids: Vec<StackId> = stack.iter().map(|id| StackId::new(id).unwrap()).collect();
        let k = (ids.len() as u8 + more).min(16);
        RequestIdentifier::from_parts(Origin::from_random(origin), depth, k, &ids).unwrap()
    })
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    (
        identifier(),
        option::of(any::<[u8; 8]>()),
        option::of(text()),
        option::of(text()),
    )
        .prop_map(|(identifier, interaction, peer, peer_host)| Call {
            identifier,
            interaction: interaction.map(Interaction::from_random),
            peer,
            peer_host,
        })
}

pub(crate) fn opening() -> impl Strategy<Value = Opening> {
    let direction = prop_oneof![
        Just(Direction::Inbound),
        Just(Direction::Outbound),
        Just(Direction::Internal)
    ];
    let ids = (
        option::of(any::<[u8; 16]>()),
        option::of(any::<[u8; 16]>()),
        option::of(any::<u64>()),
    );
    let follow =
        (position(), any::<u64>()).prop_map(|(position, effect)| Follow { position, effect });
    let order = (vec(follow, 0..3), vec(position(), 0..3));
    let link = any::<([u8; 16], [u8; 8])>().prop_map(|(origin, interaction)| Link {
        origin: Origin::from_random(origin),
        interaction: Interaction::from_random(interaction),
    });
    let names = (text(), text(), text(), text());
    let rest = (data(), vec(link, 0..2), vec(text(), 0..3), fields());
    let times = (option::of(any::<i64>()), any::<i64>());
    (
        direction,
        ids,
        order,
        option::of(call()),
        names,
        times,
        rest,
    )
        .prop_map(
            |(direction, (session, client, counter), (after, unseen), call, names, times, rest)| {
                Opening {
                    direction,
                    session: session.map(SessionId::from_random),
                    client: client.map(ClientId::from_random),
                    counter,
                    after: after.into(),
                    unseen,
                    call,
                    service: names.0,
                    version: names.1,
                    host: names.2,
                    action: names.3,
                    generated: times.0.map(Timestamp),
                    at: Timestamp(times.1),
                    request: rest.0,
                    links: rest.1,
                    flags: rest.2,
                    attributes: rest.3,
                }
            },
        )
}

fn states() -> impl Strategy<Value = Vec<StateWrite>> {
    let value = option::of(vec(any::<u8>(), 0..40));
    let rest = (text(), value, vec(position(), 0..3), any::<bool>());
    let write = (1..u128::MAX, any::<u64>(), rest).prop_map(
        |(session, counter, (name, value, replaces, hidden))| StateWrite {
            session: SessionId::from_random(session.to_le_bytes()),
            counter,
            name,
            value: value.map(Bytes::from),
            replaces,
            hidden,
        },
    );
    vec(write, 0..3)
}

pub(crate) fn effect() -> impl Strategy<Value = Effect> {
    (any::<(u64, u16)>(), outcome(), (fields(), states())).prop_map(
        |((after_ns, status), outcome, (attributes, state))| Effect {
            after_ns,
            status,
            outcome,
            attributes,
            state,
        },
    )
}

pub(crate) fn closing() -> impl Strategy<Value = Closing> {
    (
        any::<(u64, u16, u64, u64, u64)>(),
        outcome(),
        option::of(text()),
        (data(), data(), fields(), states()),
    )
        .prop_map(
            |((duration_ns, status, work, request_bytes, response_bytes), outcome, error, rest)| {
                Closing {
                    duration_ns,
                    status,
                    outcome,
                    error,
                    work,
                    request_bytes,
                    response_bytes,
                    request: rest.0,
                    response: rest.1,
                    attributes: rest.2,
                    state: rest.3,
                }
            },
        )
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        opening().prop_map(|opening| Record::Opening(Box::new(opening))),
        (any::<u64>(), effect()).prop_map(|(opening, effect)| Record::Effect { opening, effect }),
        (any::<u64>(), closing()).prop_map(|(opening, closing)| Record::Closing {
            opening,
            closing: Box::new(closing),
        }),
        (opening(), closing())
            .prop_map(|(opening, closing)| Record::Whole(Box::new(opening), Box::new(closing))),
        (any::<u64>(), vec(any::<u8>(), 0..300)).prop_map(|(opening, broadcast)| {
            Record::Broadcast {
                opening,
                broadcast: broadcast.into(),
            }
        }),
    ]
}
