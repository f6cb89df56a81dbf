//! The admin port: the query API, the page, metrics and health.
//!
//! Every question is a row of the endpoint table, every answer JSON of a schema in the OpenAPI
//! file; errors are `{"error":{"code","message"}}`. Queries read files, so they run on the
//! runtime's blocking threads.
//!
//! Who may ask is [`Access`]'s: without keys everybody who reaches the port.
//!
//! Limits: the port speaks plain HTTP and listens on loopback unless told otherwise. Without CORS
//! headers other sites' scripts cannot read it; a name that a stranger rebinds to this address
//! could, so put a proxy that checks the host before a port that is reachable by name.

mod access;
mod analysis;
mod answers;
mod audit;
mod dependencies;
mod endpoints;
mod error;
mod folding;
mod import;
mod openapi;
mod params;
mod report;
mod spans;
mod stream;

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use selvedge_identity::Origin;

use self::access::Viewer;
use self::endpoints::{
    AUDIT, AUDIT_REQUESTS, DEPENDENCIES, DIAGNOSIS, Endpoint, HEALTH, JOURNALS, METRICS, OPENAPI,
    PATHS, READY, REQUEST, REQUESTS, SERVICES, SESSION, SESSIONS, SPANS,
};
use self::error::ApiError;
use self::params::Params;
use crate::ingest::IngestState;
use crate::metrics;
use crate::query::{RequestQuery, SessionQuery};
use crate::store::Store;

pub use self::access::Access;
pub use self::import::IMPORT_BYTES_MAX;
pub(crate) use self::import::router as import_router;
pub use self::openapi::openapi;
pub(crate) use self::report::router as report_router;

/// Gives metrics of other parts, in the text form of Prometheus or OpenMetrics; some have to be
/// asked for them.
pub type MoreMetrics = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// What other parts of the process show on the admin port.
#[derive(Clone, Default)]
pub struct AdminExtras {
    /// More metrics.
    pub metrics: Option<MoreMetrics>,
    /// Why the process is not ready, if it is not.
    pub ready: Option<Arc<dyn Fn() -> Result<(), String> + Send + Sync>>,
    /// More routes.
    pub routes: Option<Router>,
    /// Who may ask what.
    pub access: Access,
}

#[derive(Clone)]
struct Api {
    store: Arc<Store>,
    state: Arc<IngestState>,
    extras: Arc<AdminExtras>,
}

type Answer = Result<Response, ApiError>;

/// The routes of the admin port over a store.
pub fn router(store: Arc<Store>, state: Arc<IngestState>, mut extras: AdminExtras) -> Router {
    let routes = extras.routes.take().unwrap_or_default();
    let access = Arc::new(std::mem::take(&mut extras.access));
    let api = Api {
        store,
        state,
        extras: Arc::new(extras),
    };
    Router::new()
        .route(REQUESTS.path, get(list_requests))
        .route(REQUEST.path, get(get_request))
        .route(DIAGNOSIS.path, get(get_diagnosis))
        .route(SPANS.path, get(spans::get))
        .route(SESSIONS.path, get(list_sessions))
        .route(SESSION.path, get(get_session))
        .route(SERVICES.path, get(list_services))
        .route(DEPENDENCIES.path, get(list_dependencies))
        .route(PATHS.path, get(analysis::list_paths))
        .route(AUDIT.path, get(audit::list_lines))
        .route(AUDIT_REQUESTS.path, get(audit::list_requests))
        .route(JOURNALS.path, get(list_journals))
        .route(OPENAPI.path, get(get_openapi))
        .route(METRICS.path, get(get_metrics))
        .route(HEALTH.path, get(get_health))
        .route(READY.path, get(get_readiness))
        .with_state(api)
        .merge(routes)
        .fallback(page)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(axum::middleware::from_fn_with_state(access, access::admit))
        .layer(axum::middleware::map_response(with_safe_headers))
}

async fn list_requests(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref(), REQUESTS.parameters)?;
    let query = RequestQuery {
        service: params.text("service"),
        operation: params.text("operation"),
        min_duration: params.duration("min_duration")?,
        max_duration: params.duration("max_duration")?,
        error: params.boolean("error")?,
        attributes: params.pairs("attribute")?,
        flags: params.all("flag").map(str::to_owned).collect(),
        session: params.value("session", ID)?,
        client: params.value("client", ID)?,
        from: params.time("from")?,
        to: params.time("to")?,
        limit: params.limit()?,
        cursor: params.cursor()?,
    };
    answer(api, move |api| {
        let (found, next) = api.store.search(&query, Some)?;
        let rows = found.into_iter();
        let rows: Result<Vec<_>, _> = rows
            .map(|found| answers::request_row(&api.store, found))
            .collect();
        answers::list("requests", &rows?, next)
    })
    .await
}

async fn get_request(
    State(api): State<Api>,
    Extension(viewer): Extension<Viewer>,
    RawQuery(query): RawQuery,
    origin: Result<Path<String>, PathRejection>,
) -> Answer {
    let origin = id(&REQUEST, origin, query.as_deref())?;
    if let Viewer::Own(consumer) = viewer {
        return answer(api, move |api| audit::tree(&api.store, origin, &consumer)).await;
    }
    stream::answer(move |out| match api.store.request(origin)? {
        Some(request) => out.json(&request.into_builder().tree().written()),
        None => Err(no_request(origin)),
    })
    .await
}

async fn get_diagnosis(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    origin: Result<Path<String>, PathRejection>,
) -> Answer {
    let origin = id(&DIAGNOSIS, origin, query.as_deref())?;
    answer(api, move |api| match api.store.outline(origin)? {
        Some(request) => answers::diagnosis(request),
        None => Err(no_request(origin)),
    })
    .await
}

async fn list_sessions(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref(), SESSIONS.parameters)?;
    let query = SessionQuery {
        client: params.value("client", ID)?,
        from: params.time("from")?,
        to: params.time("to")?,
        limit: params.limit()?,
        cursor: params.cursor()?,
    };
    answer(api, move |api| {
        let (rows, next) = api.store.sessions(&query);
        answers::list("sessions", &rows, next)
    })
    .await
}

async fn get_session(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    session: Result<Path<String>, PathRejection>,
) -> Answer {
    let session = id(&SESSION, session, query.as_deref())?;
    answer(api, move |api| match api.store.session(session)? {
        Some(entries) => answers::timeline(session, entries),
        None => Err(ApiError::not_found(format!("no session {session}"))),
    })
    .await
}

async fn list_services(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    Params::parse(query.as_deref(), SERVICES.parameters)?;
    answer(api, |api| {
        answers::list("services", &api.store.services(), NO_CURSOR)
    })
    .await
}

async fn list_dependencies(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref(), DEPENDENCIES.parameters)?;
    let query = RequestQuery {
        from: params.time("from")?,
        to: params.time("to")?,
        limit: DEPENDENCIES_REQUESTS_MAX,
        cursor: params.cursor()?,
        ..RequestQuery::default()
    };
    answer(api, move |api| {
        let (rows, next) = answers::dependencies(&api.store, &query)?;
        answers::list("dependencies", &rows, next)
    })
    .await
}

async fn list_journals(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    Params::parse(query.as_deref(), JOURNALS.parameters)?;
    answer(api, |api| {
        let rows = answers::journal_rows(api.store.journals(), &api.state.present());
        answers::list("journals", &rows, NO_CURSOR)
    })
    .await
}

async fn get_openapi(RawQuery(query): RawQuery) -> Answer {
    Params::parse(query.as_deref(), OPENAPI.parameters)?;
    Ok(Json(openapi()).into_response())
}

async fn get_metrics(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    Params::parse(query.as_deref(), METRICS.parameters)?;
    let more = match &api.extras.metrics {
        Some(more) => more().await,
        None => String::new(),
    };
    let text = metrics::text(&api.store, &api.state, &more);
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn get_health() -> &'static str {
    "ok\n"
}

async fn get_readiness(State(api): State<Api>) -> Response {
    let others = api.extras.ready.as_ref().map_or(Ok(()), |ready| ready());
    match api.state.trouble().map_or(others, Err) {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// The page and its parts; everything else is not there.
async fn page(request: axum::extract::Request) -> Response {
    if request.method() != axum::http::Method::GET && request.method() != axum::http::Method::HEAD {
        return ApiError::method_not_allowed().into_response();
    }
    let path = request.uri().path();
    let Some(asset) = selvedge_ui::asset(path) else {
        return ApiError::not_found(format!("nothing at {path}")).into_response();
    };
    let known = request.headers().get(header::IF_NONE_MATCH);
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::ETAG, asset.etag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, PAGE_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if known.is_some_and(|known| known.as_bytes() == asset.etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, asset.bytes).into_response()
}

/// The page loads nothing from elsewhere and runs nothing but its own script.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const ID: &str = "32 lower-case hex digits";

const JSON: &str = "application/json";

/// Requests that one answer on dependencies counts; the store bounds their entries as well.
const DEPENDENCIES_REQUESTS_MAX: usize = 10_000;

const NO_CURSOR: Option<String> = None;

/// Answers from a blocking thread.
async fn answer(api: Api, query: impl FnOnce(&Api) -> answers::Body + Send + 'static) -> Answer {
    match tokio::task::spawn_blocking(move || query(&api)).await {
        Ok(answered) => answered.map(|body| ([(header::CONTENT_TYPE, JSON)], body).into_response()),
        Err(error) => Err(ApiError::internal(&error)),
    }
}

fn no_request(origin: Origin) -> ApiError {
    ApiError::not_found(format!("no request of origin {origin}"))
}

/// The id in a path of an endpoint that takes no parameters.
fn id<T: std::str::FromStr>(
    endpoint: &Endpoint,
    found: Result<Path<String>, PathRejection>,
    query: Option<&str>,
) -> Result<T, ApiError> {
    Params::parse(query, endpoint.parameters)?;
    let name = endpoint.id.map_or("id", |(name, _)| name);
    found
        .ok()
        .and_then(|Path(text)| text.parse().ok())
        .ok_or_else(|| ApiError::bad_parameter(name, ID))
}

async fn with_safe_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CACHE_CONTROL, "no-store");
    response
}

#[cfg(test)]
mod tests;
