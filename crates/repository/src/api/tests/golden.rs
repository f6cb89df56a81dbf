//! `docs/openapi.json` is what the code says.

use std::path::Path;

use crate::api::openapi;

/// `SELVEDGE_BLESS=1 cargo test -p selvedge-repository` writes the file anew.
#[test]
fn the_openapi_file_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let said = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("SELVEDGE_BLESS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        said == held,
        "docs/openapi.json is old: run SELVEDGE_BLESS=1 cargo test -p selvedge-repository, and look at the change"
    );
}
