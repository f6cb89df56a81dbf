//! Wrong use, wrong files, wrong places: a sentence that names it, and the right exit code.

use std::process::Output;

use selvedge_system_tests::{Up, selvedge};

fn fails(args: &[&str]) -> (i32, String) {
    let Output { status, stderr, .. } = selvedge(args).output().expect("it runs");
    let code = status.code().expect("it ends by itself");
    (code, String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_nearest_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    std::fs::write(&file, "[gateway]\n# a comment\npolcy = \"random\"\n").expect("written");
    let path = file.to_str().expect("text");
    let (code, said) = fails(&["check", "--config", path]);
    assert_eq!(code, 1);
    for part in ["my.toml:3", "\"polcy\"", "did you mean \"policy\""] {
        assert!(said.contains(part), "{said}");
    }
    let data = folder.path().join("data");
    let data = data.to_str().expect("text");
    let (code, said) = fails(&["up", "--ephemeral", "--config", path, "--data", data]);
    assert!(code == 1 && said.contains("polcy"), "{code} {said}");
}

#[test]
fn the_example_configuration_is_right() {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = format!("{root}/../config/selvedge.toml");
    let output = selvedge(&["check", "--config", &file])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn wrong_use_exits_with_2() {
    assert_eq!(fails(&["upp"]).0, 2);
    assert_eq!(fails(&["tree", "not-an-origin"]).0, 2);
    assert_eq!(fails(&["up", "--servers", "0"]).0, 2);
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("c.toml");
    let text = format!(
        "data = {:?}\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n[bus]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"{address}\"\n",
        folder.path().join("data")
    );
    std::fs::write(&file, text).expect("written");
    let (code, said) = fails(&["up", "--config", file.to_str().expect("text")]);
    assert!(code == 1 && said.contains(&address), "{code} {said}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let below = file.path().join("data");
    let below = below.to_str().expect("text");
    let (code, said) = fails(&["up", "--ephemeral", "--data", below]);
    assert!(code == 1 && said.contains(below), "{code} {said}");
}

#[test]
fn a_data_folder_in_use_is_named() {
    let up = Up::start(&[]);
    let data = up.data();
    let data = data.to_str().expect("text");
    let (code, said) = fails(&["up", "--ephemeral", "--data", data]);
    assert!(code == 1 && said.contains(data), "{code} {said}");
}

#[test]
fn asking_where_nothing_answers_says_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let admin = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let (code, said) = fails(&["search", "--admin", &admin]);
    assert!(
        code == 1 && said.contains("nothing answers"),
        "{code} {said}"
    );
}

#[test]
fn a_missing_journal_is_named() {
    let (code, said) = fails(&["log", "/nonexistent/journal"]);
    assert!(
        code == 1 && said.contains("/nonexistent/journal"),
        "{code} {said}"
    );
}
