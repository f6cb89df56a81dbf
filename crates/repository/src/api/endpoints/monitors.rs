//! What monitors and the race's master answer on the admin port of their process. Their routes are
//! in the crates `follow` and `cli`; here they are described, beside the query API's.

use super::{Answer, Endpoint, Kind, parameter};

const ENTRIES: Endpoint = Endpoint {
    path: "/api/v1/entries",
    name: "streamEntries",
    summary: "The fleet's entries as they are made, as a stream of JSON lines or server-sent events: each matching \
              entry once, over restarts of both sides. A sidecar has the same under `/selvedge/v1/entries`. See \
              docs/guide/monitors.md.",
    id: None,
    parameters: &[
        parameter(
            "filter",
            Kind::Text,
            "which entries, in the language of docs/guide/thresholds.md; all by default",
        ),
        parameter(
            "when",
            Kind::Text,
            "how far an entry must have come: opening, effect or closing (the default)",
        ),
        parameter(
            "from",
            Kind::Text,
            "where to begin: now (the default) or oldest",
        ),
        parameter("cursor", Kind::Cursor, "go on behind this cursor"),
        parameter("form", Kind::Text, "lines (the default) or events"),
    ],
    answer: Answer::Text("application/x-ndjson"),
};

const THRESHOLDS: Endpoint = Endpoint {
    path: "/api/v1/thresholds",
    name: "listThresholds",
    summary: "The rules of the threshold monitor, what each counts now, and what waits for its receivers.",
    id: None,
    parameters: &[],
    answer: Answer::Json("ThresholdList"),
};

const TRANSACTIONS: Endpoint = Endpoint {
    path: "/api/v1/transactions",
    name: "listTransactions",
    summary: "The rules of the transaction processor: how many entries each has carried out, and how many are dead \
              letters.",
    id: None,
    parameters: &[],
    answer: Answer::Json("TransactionList"),
};

const RULE: super::Parameter = parameter("rule", Kind::Text, "the rule's name");

const DEAD: Endpoint = Endpoint {
    path: "/api/v1/transactions/dead",
    name: "listDeadLetters",
    summary: "What a rule could not carry out, by position, with the reason.",
    id: None,
    parameters: &[
        RULE,
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("LetterList"),
};

const RETRY: Endpoint = Endpoint {
    path: "/api/v1/transactions/retry",
    name: "retryDeadLetter",
    summary: "Tries a dead letter again.",
    id: None,
    parameters: &[
        RULE,
        parameter(
            "position",
            Kind::Text,
            "the entry, as `server/epoch/sequence`",
        ),
    ],
    answer: Answer::Json("Tried"),
};

const RACES: Endpoint = Endpoint {
    path: "/api/v1/races",
    name: "listRaces",
    summary: "The newest response races, the newest first, and the replicas with their clocks. Instants are \
              nanoseconds of the common clock, times nanoseconds. Served where the master is: by `up`, and by a \
              gateway with sites.",
    id: None,
    parameters: &[parameter("limit", Kind::Limit, "at most so many races")],
    answer: Answer::Json("RaceList"),
};

pub(crate) const ASKED: &[&Endpoint] = &[&ENTRIES, &THRESHOLDS, &TRANSACTIONS, &DEAD, &RACES];

pub(crate) const POSTED: &[&Endpoint] = &[&RETRY];
