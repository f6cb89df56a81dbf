//! The gateway's cookies: `sv0` to `sv15` hold session tokens ([`crate::slots`]), `svc` the client
//! id. They are taken out of what the servers behind get to see.
//!
//! Pure.

use crate::slots::SLOTS;

/// The client id's cookie.
pub const CLIENT: &str = "svc";

/// How long a browser keeps its client id, in seconds: 400 days, the most that browsers allow.
const CLIENT_AGE: u32 = 400 * 24 * 3600;

/// The gateway's cookies in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours<'a> {
    /// Slots and their values, in the order they came.
    pub slots: smallvec::SmallVec<[(u8, &'a [u8]); 4]>,
    /// The client id's value.
    pub client: Option<&'a [u8]>,
}

impl<'a> Ours<'a> {
    /// Reads the values of a request's `Cookie` fields.
    pub fn read(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut ours = Self::default();
        for (name, value) in fields.into_iter().flat_map(pairs) {
            if let Some(slot) = slot_of(name) {
                ours.slots.push((slot, value));
            } else if name == CLIENT.as_bytes() {
                ours.client = Some(value);
            }
        }
        ours
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.client.is_none()
    }
}

/// What is left of a `Cookie` field without the gateway's own; `None` if nothing is.
#[must_use]
pub fn without_ours(field: &[u8]) -> Option<Vec<u8>> {
    let mut rest: Vec<u8> = Vec::with_capacity(field.len());
    for part in field.split(|&b| b == b';').map(<[u8]>::trim_ascii) {
        let name = part.split(|&b| b == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        if part.is_empty() || slot_of(name).is_some() || name == CLIENT.as_bytes() {
            continue;
        }
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(part);
    }
    (!rest.is_empty()).then_some(rest)
}

/// The `Set-Cookie` value that puts a token into a slot.
#[must_use]
pub fn set_slot(slot: u8, token: &str, secure: bool) -> String {
    format!("sv{slot}={token}{}", attributes(secure))
}

/// The `Set-Cookie` value that empties a slot.
#[must_use]
pub fn clear_slot(slot: u8, secure: bool) -> String {
    format!("sv{slot}=; Max-Age=0{}", attributes(secure))
}

/// The `Set-Cookie` value of a client id.
#[must_use]
pub fn set_client(token: &str, secure: bool) -> String {
    format!(
        "{CLIENT}={token}; Max-Age={CLIENT_AGE}{}",
        attributes(secure)
    )
}

fn attributes(secure: bool) -> &'static str {
    if secure {
        "; Path=/; HttpOnly; SameSite=Lax; Secure"
    } else {
        "; Path=/; HttpOnly; SameSite=Lax"
    }
}

fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|&b| b == b';').filter_map(|part| {
        let at = part.iter().position(|&b| b == b'=')?;
        let (name, value) = (&part[..at], &part[at + 1..]);
        let value = value.trim_ascii();
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|v| v.strip_suffix(b"\""));
        Some((name.trim_ascii(), quoted.unwrap_or(value)))
    })
}

/// The slot that a cookie of this name is: `sv0` to `sv15`, without leading zeros.
fn slot_of(name: &[u8]) -> Option<u8> {
    let number = match name.strip_prefix(b"sv")? {
        [ones @ b'0'..=b'9'] => ones - b'0',
        [b'1', ones @ b'0'..=b'5'] => 10 + ones - b'0',
        _ => return None,
    };
    (usize::from(number) < SLOTS).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_are_found_and_taken_out() {
        let field: &[u8] = b"a=b; sv0=t0;sv15=\"t15\"; sv16=x; sv01=y; sv=z; svc=me; c=d=e";
        let ours = Ours::read([field]);
        let tokens: [(u8, &[u8]); 2] = [(0, b"t0"), (15, b"t15")];
        assert_eq!(ours.slots.as_slice(), tokens);
        assert_eq!(ours.client, Some(&b"me"[..]));
        let rest = without_ours(field).unwrap();
        assert_eq!(rest, b"a=b; sv16=x; sv01=y; sv=z; c=d=e");
        assert_eq!(without_ours(b"sv3=x; svc=y"), None);
        assert_eq!(without_ours(b" ; "), None);
        assert_eq!(without_ours(b"bare; x=1"), Some(b"bare; x=1".to_vec()));
    }

    #[test]
    fn several_fields_are_read_as_one() {
        let ours = Ours::read([&b"sv1=a"[..], b"sv1=b; sv2=c"]);
        let slots: Vec<u8> = ours.slots.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [1, 1, 2]);
        assert!(Ours::read([&b"x=y"[..]]).is_empty());
    }

    #[test]
    fn cookies_are_for_the_whole_site_and_hidden_from_scripts() {
        assert_eq!(
            set_slot(3, "t", false),
            "sv3=t; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            clear_slot(15, true),
            "sv15=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(set_client("c", false).starts_with("svc=c; Max-Age=34560000; Path=/"));
    }
}
