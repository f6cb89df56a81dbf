//! The table of what can be asked: the router checks requests by it, and the OpenAPI file is made
//! from it, so neither can know a parameter that the other does not.

/// A parameter of a query string.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) repeats: bool,
    pub(crate) about: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    /// `10ms`, `1.5s`, or nanoseconds.
    Duration,
    Boolean,
    /// 32 lower-case hex digits.
    Id,
    /// RFC 3339.
    Time,
    Limit,
    Cursor,
    /// `key:value`.
    Pair,
}

/// One thing that can be asked, by GET.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// The parameter in the path, and what it is.
    pub(crate) id: Option<(&'static str, &'static str)>,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) answer: Answer,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// JSON of this schema.
    Json(&'static str),
    /// Text of this type.
    Text(&'static str),
}

const fn parameter(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        repeats: false,
        about,
    }
}

const fn repeating(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        repeats: true,
        about,
    }
}

pub(crate) const REQUESTS: Endpoint = Endpoint {
    path: "/api/v1/requests",
    name: "listRequests",
    summary: "Requests, newest first. Everything given must hold. Without service, operation and attribute, \
              durations and error are asked of the request as a whole; with any of them, one entry of the \
              request must meet all of these, and the row shows the shallowest that does.",
    id: None,
    parameters: &[
        parameter("service", Kind::Text, "the service that handled it"),
        parameter(
            "operation",
            Kind::Text,
            "what it was asked to do, for one `POST /orders`",
        ),
        parameter("min_duration", Kind::Duration, "at least this long"),
        parameter("max_duration", Kind::Duration, "at most this long"),
        parameter("error", Kind::Boolean, "whether it failed"),
        repeating("attribute", Kind::Pair, "an attribute that it has"),
        repeating("flag", Kind::Text, "a flag that the request carries"),
        parameter("session", Kind::Id, "of this visit only"),
        parameter("client", Kind::Id, "of this client only"),
        parameter("from", Kind::Time, "started at this time or later"),
        parameter("to", Kind::Time, "started before this time"),
        parameter("limit", Kind::Limit, "at most so many rows"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("RequestList"),
};

pub(crate) const REQUEST: Endpoint = Endpoint {
    path: "/api/v1/requests/{origin}",
    name: "getRequest",
    summary: "The call tree of a request.",
    id: Some(("origin", "the request's origin")),
    parameters: &[],
    answer: Answer::Json("Tree"),
};

pub(crate) const DIAGNOSIS: Endpoint = Endpoint {
    path: "/api/v1/requests/{origin}/diagnosis",
    name: "getDiagnosis",
    summary: "Where a request's failures began, and what it waited for.",
    id: Some(("origin", "the request's origin")),
    parameters: &[],
    answer: Answer::Json("Diagnosis"),
};

pub(crate) const SESSIONS: Endpoint = Endpoint {
    path: "/api/v1/sessions",
    name: "listSessions",
    summary: "Visits, the last active first.",
    id: None,
    parameters: &[
        parameter("client", Kind::Id, "of this client only"),
        parameter("from", Kind::Time, "with an action at this time or later"),
        parameter("to", Kind::Time, "begun before this time"),
        parameter("limit", Kind::Limit, "at most so many rows"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("SessionList"),
};

pub(crate) const SESSION: Endpoint = Endpoint {
    path: "/api/v1/sessions/{id}",
    name: "getSession",
    summary: "The timeline of a visit: its actions in order, with their concurrency.",
    id: Some(("id", "the session's id")),
    parameters: &[],
    answer: Answer::Json("Timeline"),
};

pub(crate) const SERVICES: Endpoint = Endpoint {
    path: "/api/v1/services",
    name: "listServices",
    summary: "The services and what they were asked to do.",
    id: None,
    parameters: &[],
    answer: Answer::Json("ServiceList"),
};

pub(crate) const DEPENDENCIES: Endpoint = Endpoint {
    path: "/api/v1/dependencies",
    name: "listDependencies",
    summary: "Which service calls which: calls, errors and durations by caller, callee and operation, of the \
              newest requests. One answer counts a bounded number of requests; where there are more, `next` \
              goes on with the older ones.",
    id: None,
    parameters: &[
        parameter(
            "from",
            Kind::Time,
            "of requests started at this time or later",
        ),
        parameter("to", Kind::Time, "of requests started before this time"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("DependencyList"),
};

pub(crate) const JOURNALS: Endpoint = Endpoint {
    path: "/api/v1/journals",
    name: "listJournals",
    summary: "The servers' journals as far as they are here: epochs, positions, gaps.",
    id: None,
    parameters: &[],
    answer: Answer::Json("JournalList"),
};

pub(crate) const OPENAPI: Endpoint = Endpoint {
    path: "/api/v1/openapi.json",
    name: "getOpenApi",
    summary: "This description.",
    id: None,
    parameters: &[],
    answer: Answer::Json("OpenApi"),
};

pub(crate) const METRICS: Endpoint = Endpoint {
    path: "/metrics",
    name: "getMetrics",
    summary: "Metrics for Prometheus.",
    id: None,
    parameters: &[],
    answer: Answer::Text(crate::metrics::CONTENT_TYPE),
};

pub(crate) const HEALTH: Endpoint = Endpoint {
    path: "/healthz",
    name: "getHealth",
    summary: "Whether the process runs.",
    id: None,
    parameters: &[],
    answer: Answer::Text("text/plain; charset=utf-8"),
};

pub(crate) const READY: Endpoint = Endpoint {
    path: "/readyz",
    name: "getReadiness",
    summary: "Whether answers are fresh: 503 with the reason while they may not be.",
    id: None,
    parameters: &[],
    answer: Answer::Text("text/plain; charset=utf-8"),
};

/// All of them, as the OpenAPI file lists them.
pub(crate) const ALL: &[&Endpoint] = &[
    &REQUESTS,
    &REQUEST,
    &DIAGNOSIS,
    &SESSIONS,
    &SESSION,
    &SERVICES,
    &DEPENDENCIES,
    &JOURNALS,
    &OPENAPI,
    &METRICS,
    &HEALTH,
    &READY,
];
