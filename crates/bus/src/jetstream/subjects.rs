//! What is said where: subjects of NATS, one of each kind for each journal.

use selvedge_identity::ServerName;

/// The subjects and streams of one fleet.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    prefix: String,
    /// The stream of all journals' records.
    pub(super) journals: String,
    /// The stream of what holds of each journal: its last message on each subject.
    pub(super) owners: String,
}

impl Subjects {
    /// `None` if no stream's name can begin like this.
    pub(super) fn new(prefix: &str) -> Option<Self> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if prefix.is_empty() || prefix.len() > 63 || !prefix.bytes().all(valid) {
            return None;
        }
        Some(Self {
            prefix: prefix.to_owned(),
            journals: format!("{prefix}-journals"),
            owners: format!("{prefix}-owners"),
        })
    }

    /// A journal's records.
    pub(super) fn journal(&self, server: &ServerName) -> String {
        self.of("journal", server)
    }

    /// What holds of a journal.
    pub(super) fn owner(&self, server: &ServerName) -> String {
        self.of("owner", server)
    }

    /// An owner's signs of life.
    pub(super) fn alive(&self, server: &ServerName) -> String {
        self.of("alive", server)
    }

    /// Questions to an owner.
    pub(super) fn ask(&self, server: &ServerName) -> String {
        self.of("ask", server)
    }

    /// All subjects of a kind.
    pub(super) fn all(&self, kind: &str) -> String {
        format!("{}.{kind}.*", self.prefix)
    }

    /// Whose subject it is.
    pub(super) fn server(subject: &str) -> Option<ServerName> {
        let (_, token) = subject.rsplit_once('.')?;
        ServerName::new(&token.replace('=', ".")).ok()
    }

    /// A dot would end the token; an equals sign stands in no server's name.
    fn of(&self, kind: &str, server: &ServerName) -> String {
        let token = server.as_str().replace('.', "=");
        format!("{}.{kind}.{token}", self.prefix)
    }
}
