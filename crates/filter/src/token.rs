//! The words of a filter's text.

/// A word, and where it begins (in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) at: usize,
    pub(crate) kind: Kind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A bare word: a field, a keyword, a value.
    Word(&'a str),
    /// A value in quotes, unescaped.
    Quoted(String),
    Operator(Operator),
    Open,
    Close,
    Comma,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Like,
}

impl Operator {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Like => "~",
        }
    }
}

/// Splits a text into words. An error is a place and what is wrong there.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, (usize, &'static str)> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let (kind, length) = match first {
            b' ' | b'\t' | b'\r' | b'\n' => {
                at += 1;
                continue;
            }
            b'(' => (Kind::Open, 1),
            b')' => (Kind::Close, 1),
            b',' => (Kind::Comma, 1),
            b'"' => {
                let (value, length) = quoted(&text[at..]).map_err(|reason| (at, reason))?;
                (Kind::Quoted(value), length)
            }
            b'=' | b'!' | b'<' | b'>' | b'~' => {
                let (operator, length) = operator(&bytes[at..]).ok_or((at, "write != or not"))?;
                (Kind::Operator(operator), length)
            }
            first if is_word(first) => {
                let length = bytes[at..].iter().take_while(|b| is_word(**b)).count();
                (Kind::Word(&text[at..at + length]), length)
            }
            _ => return Err((at, "put the value into quotes")),
        };
        out.push(Token { at, kind });
        at += length;
    }
    Ok(out)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"._-/*:+%@".contains(&b)
}

fn operator(bytes: &[u8]) -> Option<(Operator, usize)> {
    Some(match bytes {
        [b'!', b'=', ..] => (Operator::Unequal, 2),
        [b'<', b'=', ..] => (Operator::AtMost, 2),
        [b'>', b'=', ..] => (Operator::AtLeast, 2),
        // As other languages write it.
        [b'=', b'=', ..] => (Operator::Equal, 2),
        [b'=', ..] => (Operator::Equal, 1),
        [b'<', ..] => (Operator::Less, 1),
        [b'>', ..] => (Operator::Greater, 1),
        [b'~', ..] => (Operator::Like, 1),
        _ => return None,
    })
}

/// A value that begins with a quote, and how many bytes it took. A backslash takes the next
/// character as it is.
fn quoted(text: &str) -> Result<(String, usize), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, at + 1)),
            '\\' => match characters.next() {
                Some((_, next)) => value.push(next),
                None => break,
            },
            plain => value.push(plain),
        }
    }
    Err("the quote does not end")
}
