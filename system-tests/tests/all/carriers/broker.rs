//! A message broker of another project: nats-server, as PyPI has it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running broker; dropped, it is killed.
pub(super) struct Broker {
    child: Child,
    pub(super) url: String,
    _folder: TempDir,
}

impl Broker {
    /// Starts one on a free port, and waits until it takes clients.
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("a root");
        let program = root.join("target/python/bin/nats-server");
        assert!(
            program.is_file(),
            "there is no {}: `cargo xtask test` sets it up",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", "-1", "-sd"]);
        command.arg(folder.path()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = log.lines().map_while(Result::ok);
        let listening = "Listening for client connections on ";
        let address = lines
            .by_ref()
            .find_map(|line| Some(line.split_once(listening)?.1.to_owned()))
            .expect("it says where it listens");
        assert!(
            lines.any(|line| line.contains("Server is ready")),
            "it never was ready"
        );
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            url: format!("nats://{address}"),
            _folder: folder,
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
