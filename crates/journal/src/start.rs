//! Record 0 of every epoch.

use selvedge_identity::Epoch;

/// The kind byte of the journal's own records.
pub(crate) const OWN_KIND: u8 = 0;
const VERSION: u8 = 1;
const VOLATILE: u8 = 1;
const PREVIOUS: u8 = 2;

/// The first record of an epoch: how it hangs on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch that starts.
    pub epoch: Epoch,
    /// Its records are kept in memory only.
    pub volatile: bool,
    /// The last epoch with durable records, and how many it durably held: those with sequences
    /// below the number. Volatile epochs between are not named. `None`: the journal begins here.
    pub previous: Option<(Epoch, u64)>,
}

impl EpochStart {
    /// The record's payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let flags =
            u8::from(self.volatile) * VOLATILE + u8::from(self.previous.is_some()) * PREVIOUS;
        let mut payload = vec![OWN_KIND, VERSION, flags];
        put_epoch(&mut payload, self.epoch);
        if let Some((epoch, records)) = self.previous {
            put_epoch(&mut payload, epoch);
            payload.extend_from_slice(&records.to_le_bytes());
        }
        payload
    }

    /// Reads a payload; `None` if it is another record (or of a later version).
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (&[kind, version, flags], rest) = payload.split_first_chunk::<3>()?;
        if kind != OWN_KIND || version != VERSION || flags & !(VOLATILE | PREVIOUS) != 0 {
            return None;
        }
        let (epoch, rest) = take_epoch(rest)?;
        let (previous, rest) = if flags & PREVIOUS != 0 {
            let (epoch, rest) = take_epoch(rest)?;
            let (records, rest) = rest.split_first_chunk::<8>()?;
            (Some((epoch, u64::from_le_bytes(*records))), rest)
        } else {
            (None, rest)
        };
        rest.is_empty().then_some(Self {
            epoch,
            volatile: flags & VOLATILE != 0,
            previous,
        })
    }
}

fn put_epoch(payload: &mut Vec<u8>, epoch: Epoch) {
    payload.extend_from_slice(&epoch.counter.to_le_bytes());
    payload.extend_from_slice(&epoch.random.to_le_bytes());
}

fn take_epoch(bytes: &[u8]) -> Option<(Epoch, &[u8])> {
    let (counter, rest) = bytes.split_first_chunk::<4>()?;
    let (random, rest) = rest.split_first_chunk::<8>()?;
    let epoch = Epoch {
        counter: u32::from_le_bytes(*counter),
        random: u64::from_le_bytes(*random),
    };
    Some((epoch, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_and_decoding_are_inverse() {
        let epoch = |counter, random| Epoch { counter, random };
        for previous in [None, Some((epoch(6, 9), 77))] {
            for volatile in [false, true] {
                let start = EpochStart {
                    epoch: epoch(7, u64::MAX),
                    volatile,
                    previous,
                };
                let payload = start.encode();
                assert_eq!(EpochStart::decode(&payload), Some(start));
                for cut in 0..payload.len() {
                    assert_eq!(EpochStart::decode(&payload[..cut]), None);
                }
            }
        }
    }

    #[test]
    fn another_record_is_not_an_epoch_start() {
        assert_eq!(EpochStart::decode(b""), None);
        assert_eq!(EpochStart::decode(b"\x01an entry of some kind"), None);
    }
}
