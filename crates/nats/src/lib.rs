//! A real nats-server for tests and benchmarks, as PyPI has it: `cargo xtask setup` puts it into
//! `target/python`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running nats-server. Dropped, it is killed.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// The program, for more arguments.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn program() -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = root.join("target/python/bin/nats-server");
        assert!(
            program.is_file(),
            "there is no {}: `cargo xtask setup` puts it there",
            program.display()
        );
        Command::new(program)
    }

    /// Starts it, and waits until it takes clients.
    ///
    /// # Panics
    /// When it ends first.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started = command.stderr(Stdio::piped()).spawn();
        let mut child = started.expect("it starts");
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
        Self { child, address }
    }

    /// Kills it, as SIGKILL does.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        self.child.kill().expect("it ran");
        self.child.wait().expect("it ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A nats-server of its own folder, with JetStream that syncs before it acknowledges.
pub struct Nats {
    server: Server,
    folder: TempDir,
}

impl Nats {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with("")
    }

    /// As [`Nats::start`], with more lines of configuration.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: {:?}, sync_interval: always }}\n{more}\n",
            folder.path().join("store")
        );
        std::fs::write(config_of(&folder), config).expect("written");
        Self {
            server: Server::start(Server::program().arg("-c").arg(config_of(&folder))),
            folder,
        }
    }

    /// Where it listens: `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Kills it, as SIGKILL does.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again after that, on the same address, with what it stored.
    ///
    /// # Panics
    /// When it does not start.
    pub fn back(&mut self) {
        let config = config_of(&self.folder);
        let text = std::fs::read_to_string(&config).expect("readable");
        let text = text.replace("127.0.0.1:-1", self.address());
        std::fs::write(&config, text).expect("written");
        self.server = Server::start(Server::program().arg("-c").arg(config));
    }
}

fn config_of(folder: &TempDir) -> PathBuf {
    folder.path().join("nats.conf")
}
