//! A real nats-server, as PyPI has it: `cargo xtask setup` puts it into `target/python`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A nats-server with JetStream that syncs before it acknowledges. Dropped, it is killed.
pub(crate) struct Nats {
    child: Child,
    /// Where it listens: `127.0.0.1:port`.
    pub(crate) address: String,
    folder: TempDir,
}

impl Nats {
    /// Starts one on a free port, and waits until it takes clients.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// As [`Nats::start`], with more lines of configuration.
    pub(crate) fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {:?}, sync_interval: always }}\n{more}\n",
            folder.path().join("store")
        );
        std::fs::write(folder.path().join("nats.conf"), config).expect("written");
        let (child, address) = serve(folder.path());
        Self {
            child,
            address,
            folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Kills it, as SIGKILL does; `back` starts it again on the same address, with what it stored.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }

    pub(crate) fn back(&mut self) {
        let config = self.folder.path().join("nats.conf");
        let text = std::fs::read_to_string(&config).expect("readable");
        let text = text.replace("127.0.0.1:-1", &self.address);
        std::fs::write(&config, text).expect("written");
        (self.child, self.address) = serve(self.folder.path());
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server and its address.
fn serve(folder: &Path) -> (Child, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let program = root.join("target/python/bin/nats-server");
    assert!(
        program.is_file(),
        "there is no {}: `cargo xtask setup` puts it there",
        program.display()
    );
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.join("nats.conf"));
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
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
    (child, address)
}
