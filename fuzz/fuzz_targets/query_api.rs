//! Paths and queries of the query API: whatever comes, an answer of JSON, never a failure of ours.
#![no_main]

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use selvedge_journal::testing::FaultyStorage;
use selvedge_repository::{AdminExtras, IngestState, Store, StoreOptions, router};
use tower::ServiceExt as _;

struct Api {
    runtime: tokio::runtime::Runtime,
    router: axum::Router,
}

static API: LazyLock<Api> = LazyLock::new(|| {
    let storage = Arc::new(FaultyStorage::default());
    let dir = std::path::Path::new("/repository");
    let store = Store::open(storage, dir, StoreOptions::default()).expect("opens");
    let state = Arc::new(IngestState::default());
    Api {
        runtime: tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime"),
        router: router(Arc::new(store), state, AdminExtras::default()),
    }
});

const PATHS: [&str; 11] = [
    "/api/v1/requests?",
    "/api/v1/requests/",
    "/api/v1/sessions?",
    "/api/v1/sessions/",
    "/api/v1/services?",
    "/api/v1/journals?",
    "/api/v1/dependencies?",
    "/api/v1/analysis/paths?",
    "/api/v1/audit?",
    "/api/v1/audit/requests?",
    "/",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let mut target = PATHS[usize::from(choice) % PATHS.len()].as_bytes().to_vec();
    target.extend_from_slice(rest);
    let Ok(uri) = Uri::try_from(target) else {
        return;
    };
    let path = uri.path().to_owned();
    let request = Request::get(uri).body(Body::empty()).expect("a request");
    let router = API.router.clone();
    let answer = API
        .runtime
        .block_on(router.oneshot(request))
        .expect("infallible");
    // It says truly that it is not ready: no bus feeds it.
    let unready = answer.status().as_u16() == 503 && path == "/readyz";
    assert!(answer.status().as_u16() < 500 || unready, "{answer:?}");
});
