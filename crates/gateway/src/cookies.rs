//! The gateway's cookies: `sv` and a name of six characters holds a session token
//! ([`crate::jar`]), `svc` the client id. They are taken out of what the servers behind get to see.
//!
//! Pure.

use crate::jar::Name;

/// The client id's cookie.
pub const CLIENT: &str = "svc";

/// How long a browser keeps its client id, in seconds: 400 days, the most that browsers allow.
const CLIENT_AGE: u32 = 400 * 24 * 3600;

/// The gateway's cookies in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours<'a> {
    /// Names and values of those with session tokens, in the order they came.
    pub tokens: smallvec::SmallVec<[(Name, &'a [u8]); 4]>,
    /// The client id's value.
    pub client: Option<&'a [u8]>,
}

impl<'a> Ours<'a> {
    /// Reads the values of a request's `Cookie` fields.
    pub fn read(fields: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut ours = Self::default();
        for (name, value) in fields.into_iter().flat_map(pairs) {
            if let Some(name) = name_of(name) {
                ours.tokens.push((name, value));
            } else if name == CLIENT.as_bytes() {
                ours.client = Some(value);
            }
        }
        ours
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.client.is_none()
    }
}

/// What is left of a `Cookie` field without the gateway's own; `None` if nothing is.
#[must_use]
pub fn without_ours(field: &[u8]) -> Option<Vec<u8>> {
    let mut rest: Vec<u8> = Vec::with_capacity(field.len());
    for part in field.split(|&b| b == b';').map(<[u8]>::trim_ascii) {
        let name = part.split(|&b| b == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        if part.is_empty() || name_of(name).is_some() || name == CLIENT.as_bytes() {
            continue;
        }
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(part);
    }
    (!rest.is_empty()).then_some(rest)
}

/// The `Set-Cookie` value that puts a token into the jar.
#[must_use]
pub fn set_token(name: Name, token: &str, secure: bool) -> String {
    format!("sv{name}={token}{}", attributes(secure))
}

/// The `Set-Cookie` value that takes a token out of the jar.
#[must_use]
pub fn clear_token(name: Name, secure: bool) -> String {
    format!("sv{name}=; Max-Age=0{}", attributes(secure))
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

/// The name of a session token's cookie: `sv` and six base64 characters.
fn name_of(cookie: &[u8]) -> Option<Name> {
    Name::read(cookie.strip_prefix(b"sv")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookies_are_found_and_taken_out() {
        let field: &[u8] =
            b"a=b; svAb-_09=t0;svzzzzzz=\"t15\"; svAb-_0=x; svAb-_091=y; sv=z; svA.b_09=w; svc=me; c=d=e";
        let ours = Ours::read([field]);
        let name = |text: &str| Name::read(text.as_bytes()).unwrap();
        let tokens: [(Name, &[u8]); 2] = [(name("Ab-_09"), b"t0"), (name("zzzzzz"), b"t15")];
        assert_eq!(ours.tokens.as_slice(), tokens);
        assert_eq!(ours.client, Some(&b"me"[..]));
        let rest = without_ours(field).unwrap();
        assert_eq!(
            rest,
            b"a=b; svAb-_0=x; svAb-_091=y; sv=z; svA.b_09=w; c=d=e"
        );
        assert_eq!(without_ours(b"sv333333=x; svc=y"), None);
        assert_eq!(without_ours(b" ; "), None);
        assert_eq!(without_ours(b"bare; x=1"), Some(b"bare; x=1".to_vec()));
    }

    #[test]
    fn several_fields_are_read_as_one() {
        let ours = Ours::read([&b"sv000001=a"[..], b"sv000001=b; sv000002=c"]);
        let values: Vec<&[u8]> = ours.tokens.iter().map(|(_, value)| *value).collect();
        assert_eq!(values, [b"a", b"b", b"c"]);
        assert!(Ours::read([&b"x=y"[..]]).is_empty());
    }

    #[test]
    fn cookies_are_for_the_whole_site_and_hidden_from_scripts() {
        let name = Name::read(b"AZ-_09").unwrap();
        assert_eq!(
            set_token(name, "t", false),
            "svAZ-_09=t; Path=/; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            clear_token(name, true),
            "svAZ-_09=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        assert!(set_client("c", false).starts_with("svc=c; Max-Age=34560000; Path=/"));
    }
}
