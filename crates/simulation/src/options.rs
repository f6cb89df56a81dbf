//! What a simulation is told, and what it tells.

/// A bug put in on purpose, to show that the invariants bite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None.
    #[default]
    None,
    /// Journals count a record as durable once it is written, before the sync.
    AckBeforeSync,
    /// One in a hundred deliveries of the back-end network is lost between it and a server's
    /// memory.
    LostDelivery,
    /// The gateway hands on only the first of several tokens of a request.
    DroppedToken,
    /// One in a hundred deliveries is lost between the back-end network and the repository.
    LostAtRepository,
    /// The transaction processor's database has forgotten, after a crash, what was done.
    ForgottenEffects,
    /// The disk of the threshold monitor says that it has synced, and has not.
    LyingDisk,
}

impl Plant {
    /// Every planted bug and the name that the program knows it by.
    pub const NAMED: [(&'static str, Plant); 6] = [
        ("ack-before-sync", Plant::AckBeforeSync),
        ("lost-delivery", Plant::LostDelivery),
        ("dropped-token", Plant::DroppedToken),
        ("lost-at-repository", Plant::LostAtRepository),
        ("forgotten-effects", Plant::ForgottenEffects),
        ("lying-disk", Plant::LyingDisk),
    ];
}

/// How a seed is simulated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keep the lines of what happened.
    pub trace: bool,
    /// The planted bug.
    pub plant: Plant,
}

/// How a run came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Every broken invariant, in words (the first twenty). Empty: all held.
    pub violations: Vec<String>,
    /// Of all that happened: the same seed gives the same hash.
    pub hash: u64,
    /// How many events happened.
    pub events: u64,
    /// What was looked at.
    pub counts: Counts,
    /// What happened, if it was asked for.
    pub trace: Vec<String>,
}

/// What a run went through and what was checked in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that clients sent, second deliveries counted too.
    pub requests: u64,
    /// Answers that reached their clients.
    pub answers: u64,
    /// Faults: crashes, cuts, failing disks, jumping clocks.
    pub faults: u64,
    /// Answered effects looked for in the recovered journal, the peers and the repository.
    pub promises: u64,
    /// Of these, not promised to last, for the disk did not take them (and the journal said so).
    pub volatile: u64,
    /// Pairs of actions compared with the model.
    pub pairs: u64,
    /// Ordered pairs of actions that the timeline calls unproven, because something they
    /// hang on was in memory only, or died unanswered with its server. (Any other is a violation.)
    pub unproven_lossy: u64,
    /// Heads that a server did not hold when it took the request.
    pub unheld: u64,
    /// Answers that went out as held by other servers' memories.
    pub spread: u64,
    /// Orders carried out, at the end.
    pub orders: u64,
    /// Crossings of thresholds that were told, at the end.
    pub crossings: u64,
    /// Milliseconds of the fleet's time.
    pub virtual_ms: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.answers += other.answers;
        self.faults += other.faults;
        self.promises += other.promises;
        self.volatile += other.volatile;
        self.pairs += other.pairs;
        self.unproven_lossy += other.unproven_lossy;
        self.unheld += other.unheld;
        self.spread += other.spread;
        self.orders += other.orders;
        self.crossings += other.crossings;
        self.virtual_ms += other.virtual_ms;
    }
}
