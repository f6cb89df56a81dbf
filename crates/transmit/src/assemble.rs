//! Datagrams put together again: any order, any number of times, some missing.
//!
//! Parts gather under the digest of their whole until all are there; a whole that has another
//! digest was tampered with and is dropped, so that its repeats can make it right. What was handed
//! on is remembered for a while by its digest: a message comes once however often it was sent, and
//! by whomever. Bounded: the whole that began first makes room, and what is not whole in time goes.
//! Pure: the time is an argument.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::datagram::Whole;
use crate::{Datagram, DatagramError, Message};

/// Senders of which numbers are kept; of more, the first are forgotten.
const SENDERS_MAX: usize = 64;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct AssemblerOptions {
    /// Bytes of messages that are being put together. Default 8 MiB.
    pub bytes_max: usize,
    /// How long a message may take from its first part on. Default 10 s.
    pub age_max: Duration,
    /// Messages remembered after they were handed on. Default 4096.
    pub remembered_max: usize,
}

impl Default for AssemblerOptions {
    fn default() -> Self {
        Self {
            bytes_max: 8 << 20,
            age_max: Duration::from_secs(10),
            remembered_max: 4096,
        }
    }
}

/// What an assembler heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Messages handed on.
    pub messages: u64,
    /// Messages that their senders numbered and that never became whole, so far: one may yet.
    pub missed: u64,
    /// Datagrams that brought nothing new.
    pub repeated: u64,
    /// Datagrams refused.
    pub refused: u64,
    /// Messages given up: not whole in time, crowded out, or not what their digest says.
    pub given_up: u64,
}

/// Puts messages together.
#[derive(Debug)]
pub struct Assembler {
    options: AssemblerOptions,
    open: HashMap<Whole, Open>,
    /// The open ones, in the order in which they began.
    begun: BTreeMap<Begun, Whole>,
    begins: u64,
    bytes: usize,
    done: HashSet<[u8; 16]>,
    done_order: VecDeque<[u8; 16]>,
    senders: HashMap<u64, Numbers>,
    senders_order: VecDeque<u64>,
    heard: Heard,
}

/// When a message began, and how many had begun before.
type Begun = (Duration, u64);

#[derive(Debug)]
struct Open {
    begun: Begun,
    bytes: Vec<u8>,
    came: Vec<bool>,
    missing: usize,
}

/// Which numbers of a sender came.
#[derive(Debug)]
struct Numbers {
    first: u64,
    last: u64,
    whole: u64,
}

impl Numbers {
    fn missed(&self) -> u64 {
        (self.last - self.first)
            .saturating_add(1)
            .saturating_sub(self.whole)
    }
}

impl Assembler {
    /// One that holds nothing.
    #[must_use]
    pub fn new(options: AssemblerOptions) -> Self {
        Self {
            options,
            open: HashMap::new(),
            begun: BTreeMap::new(),
            begins: 0,
            bytes: 0,
            done: HashSet::new(),
            done_order: VecDeque::new(),
            senders: HashMap::new(),
            senders_order: VecDeque::new(),
            heard: Heard::default(),
        }
    }

    /// What it heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let missed = self.senders.values().map(Numbers::missed);
        Heard {
            missed: missed.fold(self.heard.missed, u64::saturating_add),
            ..self.heard
        }
    }

    /// Takes a datagram that came at `now` (since any fixed instant); hands on the message that it
    /// makes whole.
    pub fn take(&mut self, datagram: &[u8], now: Duration) -> Option<Message> {
        self.expire(now);
        match Datagram::decode(datagram) {
            Ok(datagram) => self.part(&datagram, now),
            Err(DatagramError::Foreign | DatagramError::Damaged | DatagramError::Sizes) => {
                self.heard.refused += 1;
                None
            }
        }
    }

    fn part(&mut self, datagram: &Datagram<'_>, now: Duration) -> Option<Message> {
        let whole = datagram.whole;
        if self.done.contains(&whole.digest) {
            self.heard.repeated += 1;
            return None;
        }
        if !self.open.contains_key(&whole) {
            self.begin(whole, now)?;
        }
        let range = whole.range(datagram.index)?;
        let open = self.open.get_mut(&whole)?;
        let came = &mut open.came[usize::from(datagram.index)];
        if *came {
            self.heard.repeated += 1;
            return None;
        }
        *came = true;
        open.missing -= 1;
        open.bytes[range].copy_from_slice(datagram.bytes);
        if open.missing > 0 {
            return None;
        }
        let message = self.end(&whole).and_then(|bytes| {
            let right = Whole::digest(&bytes) == whole.digest;
            Message::decode(&bytes.into()).filter(|_| right)
        });
        if message.is_none() {
            self.heard.given_up += 1;
            return None;
        }
        self.heard.messages += 1;
        self.remember(whole.digest);
        self.number(datagram.sender, datagram.number);
        message
    }

    fn begin(&mut self, whole: Whole, now: Duration) -> Option<()> {
        let length = whole.length as usize;
        if length > self.options.bytes_max {
            self.heard.refused += 1;
            return None;
        }
        while self.bytes + length > self.options.bytes_max {
            let oldest = *self.begun.first_key_value()?.1;
            self.give_up(&oldest);
        }
        let begun = (now, self.begins);
        self.begins += 1;
        let open = Open {
            begun,
            bytes: vec![0; length],
            came: vec![false; whole.parts()],
            missing: whole.parts(),
        };
        self.bytes += length;
        self.open.insert(whole, open);
        self.begun.insert(begun, whole);
        Some(())
    }

    fn expire(&mut self, now: Duration) {
        while let Some((&(begun, _), &whole)) = self.begun.first_key_value() {
            if now.saturating_sub(begun) <= self.options.age_max {
                break;
            }
            self.give_up(&whole);
        }
    }

    fn give_up(&mut self, whole: &Whole) {
        if self.end(whole).is_some() {
            self.heard.given_up += 1;
        }
    }

    fn end(&mut self, whole: &Whole) -> Option<Vec<u8>> {
        let open = self.open.remove(whole)?;
        self.begun.remove(&open.begun);
        self.bytes -= open.bytes.len();
        Some(open.bytes)
    }

    fn remember(&mut self, digest: [u8; 16]) {
        self.done.insert(digest);
        self.done_order.push_back(digest);
        if self.done_order.len() > self.options.remembered_max
            && let Some(forgotten) = self.done_order.pop_front()
        {
            self.done.remove(&forgotten);
        }
    }

    fn number(&mut self, sender: u64, number: u64) {
        if let Some(numbers) = self.senders.get_mut(&sender) {
            numbers.first = numbers.first.min(number);
            numbers.last = numbers.last.max(number);
            numbers.whole += 1;
            return;
        }
        let numbers = Numbers {
            first: number,
            last: number,
            whole: 1,
        };
        self.senders.insert(sender, numbers);
        self.senders_order.push_back(sender);
        if self.senders_order.len() > SENDERS_MAX
            && let Some(numbers) = self
                .senders_order
                .pop_front()
                .and_then(|sender| self.senders.remove(&sender))
        {
            self.heard.missed = self.heard.missed.saturating_add(numbers.missed());
        }
    }
}
