//! Debian's resolvers, unmodified, each started on an address of its own.

use std::io::{BufRead as _, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::run;

/// Which resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolverKind {
    /// With the case of its questions mixed (0x20).
    Unbound,
    /// ISC's BIND; the one that sends cookies. It listens only on an interface's own addresses.
    Bind,
    /// Knot Resolver; it mixes the case of its questions.
    Knot,
    /// A forwarder: it asks the one server that it is told for a zone.
    Dnsmasq,
    /// PowerDNS Recursor.
    Powerdns,
}

impl ResolverKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unbound,
        Self::Bind,
        Self::Knot,
        Self::Dnsmasq,
        Self::Powerdns,
    ];
}

/// Whom a resolver asks.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// A server of the root zone, and of all others.
    pub server: Ipv4Addr,
    /// The name of that server, as the root zone has it.
    pub name: &'a str,
    /// The zone that forwarders ask it for.
    pub zone: &'a str,
}

/// A resolver that answers on port 53 of an address. Dropped, it is killed.
#[derive(Debug)]
pub struct Resolver {
    /// Which one.
    pub kind: ResolverKind,
    /// Where it answers, and what it asks from.
    pub address: Ipv4Addr,
    folder: PathBuf,
    child: Child,
}

impl Resolver {
    /// Starts one; `on` makes the command that runs a program on its host, and `folder` is its own.
    /// Returns when it says that it serves.
    ///
    /// # Panics
    /// If it ends first, or is not installed.
    #[must_use]
    pub fn start(
        kind: ResolverKind,
        address: Ipv4Addr,
        upstream: Upstream<'_>,
        folder: &Path,
        on: impl Fn(&str) -> Command,
    ) -> Self {
        let Upstream { server, name, zone } = upstream;
        let hints = folder.join("hints");
        let text = format!(". 3600000 NS {name}\n{name} 3600000 A {server}\n");
        std::fs::write(&hints, text).expect("written");
        let (dir, hints) = (folder.display(), hints.display());
        let write = |file: &str, text: String| {
            let path = folder.join(file);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (mut command, ready) = match kind {
            ResolverKind::Unbound => {
                let config = write(
                    "unbound.conf",
                    format!(
                        "server:\n interface: {address}\n outgoing-interface: {address}\n \
                         do-ip6: no\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n \
                         directory: \"{dir}\"\n pidfile: \"\"\n use-syslog: no\n verbosity: 1\n \
                         root-hints: \"{hints}\"\n do-not-query-localhost: no\n \
                         access-control: 0.0.0.0/0 allow\n module-config: \"iterator\"\n \
                         use-caps-for-id: yes\n num-threads: 1\n extended-statistics: yes\n\
                         remote-control:\n control-enable: yes\n control-use-cert: no\n \
                         control-interface: \"{dir}/control\"\n"
                    ),
                );
                let mut command = on("unbound");
                command.arg("-d").arg("-c").arg(config);
                (command, "start of service")
            }
            ResolverKind::Bind => {
                let config = write(
                    "named.conf",
                    format!(
                        "options {{ directory \"{dir}\"; listen-on {{ {address}; }}; \
                         listen-on-v6 {{ none; }}; query-source address {address}; \
                         recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }}; \
                         dnssec-validation no; empty-zones-enable no; pid-file none; \
                         session-keyfile none; }};\ncontrols {{ }};\n\
                         zone \".\" {{ type hint; file \"{hints}\"; }};\n"
                    ),
                );
                let mut command = on("named");
                // One worker; it logs to standard error and stays.
                command.args(["-g", "-4", "-n", "1", "-c"]).arg(config);
                (command, "all zones loaded")
            }
            ResolverKind::Knot => {
                let config = write(
                    "kresd.conf",
                    format!(
                        "net.ipv6 = false\nnet.listen('{address}', 53, {{ kind = 'dns' }})\n\
                         net.outgoing_v4('{address}')\ncache.open(20 * MB, 'lmdb://{dir}/cache')\n\
                         trust_anchors.remove('.')\nmodules.load('hints')\n\
                         hints.root({{ ['{name}'] = '{server}' }})\n\
                         option('ALLOW_LOCAL', true)\nio.stderr:write('kresd ready\\n')\n"
                    ),
                );
                let mut command = on("kresd");
                command.args(["-n", "-c"]).arg(config).arg(folder);
                (command, "kresd ready")
            }
            ResolverKind::Dnsmasq => {
                let mut command = on("dnsmasq");
                command.args(["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts"]);
                command.args(["--bind-interfaces", "--user=root", "--pid-file="]);
                command.arg(format!("--listen-address={address}"));
                command.arg(format!("--server=/{zone}/{server}@{address}"));
                command.arg("--log-facility=-");
                (command, "started, version")
            }
            ResolverKind::Powerdns => {
                write(
                    "recursor.conf",
                    format!(
                        "local-address={address}\nlocal-port=53\nquery-local-address={address}\n\
                         hint-file={hints}\ndont-query=\nallow-from=0.0.0.0/0\ndnssec=off\n\
                         socket-dir={dir}\ndaemon=no\nsecurity-poll-suffix=\nthreads=1\n\
                         setuid=\nsetgid=\nwrite-pid=no\ndisable-syslog=yes\n"
                    ),
                );
                let mut command = on("pdns_recursor");
                command.arg(format!("--config-dir={dir}"));
                (command, "Enabled multiplexer")
            }
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        std::thread::spawn(move || lines(out).for_each(drop));
        let mut said = Vec::new();
        let mut err = lines(err);
        let serves = err.by_ref().any(|line| {
            let found = line.contains(ready);
            said.push(line);
            found
        });
        assert!(serves, "{kind:?} did not serve: {said:#?}");
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || err.for_each(drop));
        Self {
            kind,
            address,
            folder: folder.to_owned(),
            child,
        }
    }

    /// How many answers came that it had not asked for or no longer waited for, by its own account;
    /// only unbound gives one.
    #[must_use]
    pub fn unwanted_replies(&self) -> Option<u64> {
        if self.kind != ResolverKind::Unbound {
            return None;
        }
        let config = self.folder.join("unbound.conf");
        let mut control = Command::new("unbound-control");
        let told = run(control.arg("-c").arg(config).arg("stats_noreset"));
        let value = told
            .lines()
            .find_map(|line| line.strip_prefix("unwanted.replies="));
        Some(value.and_then(|value| value.parse().ok()).expect("a count"))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(from).lines().map_while(Result::ok)
}
