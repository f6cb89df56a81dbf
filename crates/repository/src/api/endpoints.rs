//! The table of what can be asked: the router checks requests by it, and the OpenAPI file is made
//! from it, so neither can know a parameter that the other does not.

pub(crate) mod monitors;

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
    /// `client:ID`, `service:NAME` or `unknown`.
    Consumer,
    /// `hour`, `day` or `all`.
    Period,
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

pub(crate) const PATHS: Endpoint = Endpoint {
    path: "/api/v1/analysis/paths",
    name: "listPaths",
    summary: "Call paths: the ways from the root to each last call, of kinds of requests (service and operation of \
              the root), with how often they are taken, how long the calls at their ends take, and how many fail. \
              Kinds by name, in each the most taken path first; what is over the bound is added up in a row without \
              a path. Times choose requests by their start.",
    id: None,
    parameters: &[
        parameter(
            "service",
            Kind::Text,
            "of requests whose root is this service",
        ),
        parameter(
            "operation",
            Kind::Text,
            "of requests whose root was asked this",
        ),
        parameter(
            "from",
            Kind::Time,
            "of requests started at this time or later",
        ),
        parameter("to", Kind::Time, "of requests started before this time"),
        parameter("limit", Kind::Limit, "at most so many rows"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("PathList"),
};

pub(crate) const AUDIT: Endpoint = Endpoint {
    path: "/api/v1/audit",
    name: "listAudit",
    summary: "Who consumed which service how often and how much, by consumer, service and period. Every call is \
              charged to the client whose request caused it and to the service that made it; lines of the two kinds \
              are not to be added up. With a consumer's key only that consumer's lines.",
    id: None,
    parameters: &[
        parameter("consumer", Kind::Consumer, "of this consumer only"),
        parameter(
            "service",
            Kind::Text,
            "of this service only; empty: calls to services that nobody names",
        ),
        parameter(
            "from",
            Kind::Time,
            "of requests started at this time or later",
        ),
        parameter("to", Kind::Time, "of requests started before this time"),
        parameter(
            "period",
            Kind::Period,
            "a line for each hour, each day (UTC), or one for all",
        ),
        parameter("limit", Kind::Limit, "at most so many rows"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("LineList"),
};

pub(crate) const AUDIT_REQUESTS: Endpoint = Endpoint {
    path: "/api/v1/audit/requests",
    name: "listAuditRequests",
    summary: "The requests that a line of the audit counts, newest first, with what each adds to it. A line's `trees` \
              is this query.",
    id: None,
    parameters: &[
        parameter(
            "consumer",
            Kind::Consumer,
            "whose line; with a consumer's key its own",
        ),
        parameter(
            "service",
            Kind::Text,
            "of this service only; empty: calls to services that nobody names",
        ),
        parameter("from", Kind::Time, "started at this time or later"),
        parameter("to", Kind::Time, "started before this time"),
        parameter("limit", Kind::Limit, "at most so many rows"),
        parameter("cursor", Kind::Cursor, "go on after an earlier answer"),
    ],
    answer: Answer::Json("ChargedList"),
};

pub(crate) const JOURNALS: Endpoint = Endpoint {
    path: "/api/v1/journals",
    name: "listJournals",
    summary: "The servers' journals as far as they are here: epochs, positions, gaps.",
    id: None,
    parameters: &[],
    answer: Answer::Json("JournalList"),
};

const WANTED: &[Parameter] = &[
    parameter("origin", Kind::Id, "the entries of this request"),
    parameter("session", Kind::Id, "or the entries of this visit"),
    parameter(
        "from",
        Kind::Time,
        "or those that began at this time or later, on the server's clock",
    ),
    parameter("to", Kind::Time, "and before this time"),
];

pub(crate) const REPORT: Endpoint = Endpoint {
    path: "/api/v1/journals/{server}/report",
    name: "askForReport",
    summary: "Asks a server's agent for entries of its journal, whatever it has reported by itself. Answers               once they are here and durable.",
    id: Some(("server", "the server's name")),
    parameters: WANTED,
    answer: Answer::Json("ReportList"),
};

pub(crate) const REPORT_ALL: Endpoint = Endpoint {
    path: "/api/v1/report",
    name: "askForReports",
    summary: "Asks the agents of all servers that are present and report on a period or on demand.",
    id: None,
    parameters: WANTED,
    answer: Answer::Json("ReportList"),
};

pub(crate) const SPANS: Endpoint = Endpoint {
    path: "/api/v1/requests/{origin}/spans",
    name: "getSpans",
    summary: "A request's spans as they were sent, as OTLP's JSON; entries of journals are not among them.",
    id: Some(("origin", "the request's origin")),
    parameters: &[],
    answer: Answer::Json("Traces"),
};

pub(crate) const IMPORT: Endpoint = Endpoint {
    path: "/api/v1/import",
    name: "importSpans",
    summary: "Takes spans from a file: OTLP as JSON (one batch, or many one after the other) or protobuf, \
              Zipkin v2 JSON, Jaeger JSON. Answers once they are durable; spans that are here already are \
              left out.",
    id: None,
    parameters: &[],
    answer: Answer::Json("Imported"),
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
    &SPANS,
    &SESSIONS,
    &SESSION,
    &SERVICES,
    &DEPENDENCIES,
    &PATHS,
    &AUDIT,
    &AUDIT_REQUESTS,
    &JOURNALS,
    &OPENAPI,
    &METRICS,
    &HEALTH,
    &READY,
];

/// What is asked for by POST, because it makes servers work.
pub(crate) const POSTED: &[&Endpoint] = &[&REPORT, &REPORT_ALL, &IMPORT];
