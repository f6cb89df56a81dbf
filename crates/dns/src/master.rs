//! Master files (RFC 1035, 5): the text that zones are written in.
//!
//! Read are `$ORIGIN`, `$TTL` (RFC 2308) and `$INCLUDE`, parentheses, quoted strings, comments,
//! escapes, times with units, class and time in either order, types that are unknown here as
//! RFC 3597 writes them. Everything that is wrong is said with its file and line, all at once, up
//! to a number.
//!
//! Pure: whoever calls gives the files.

use crate::name::Name;
use crate::query::kind;
use crate::record::{self, Record, Word};

/// How deep files may include each other.
const INCLUDES_MAX: usize = 8;

/// How many faults are told.
const FAULTS_MAX: usize = 20;

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {sentence}")]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub sentence: String,
}

/// The records of a master file and of those that it includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Master {
    /// The records, in the order of the files.
    pub records: Vec<Record>,
    /// The files' names, as records name them.
    pub files: Vec<String>,
}

/// Gives the text of a file that another one includes, or says why it cannot.
pub type Include<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// Reads a master file. `origin` is what its names are relative to until it says otherwise.
///
/// # Errors
/// All [`Fault`]s, in the order of the files, up to twenty.
pub fn read(
    file: &str,
    text: &str,
    origin: &Name,
    include: &mut Include<'_>,
) -> Result<Master, Vec<Fault>> {
    let mut reader = Reader {
        out: Master::default(),
        faults: Vec::new(),
        include,
    };
    reader.file(file, text, Some(origin.clone()), None, 0);
    match reader.faults.is_empty() {
        true => Ok(reader.out),
        false => Err(reader.faults),
    }
}

struct Reader<'a, 'i> {
    out: Master,
    faults: Vec<Fault>,
    include: &'a mut Include<'i>,
}

/// What entries take over from those before them.
struct State {
    origin: Option<Name>,
    owner: Option<Name>,
    /// Of `$TTL`; without one, of the record before (RFC 1035).
    ttl: Option<u32>,
    ttl_said: bool,
    file: usize,
}

impl Reader<'_, '_> {
    fn file(
        &mut self,
        name: &str,
        text: &str,
        origin: Option<Name>,
        ttl: Option<u32>,
        depth: usize,
    ) {
        let mut state = State {
            origin,
            owner: None,
            ttl,
            ttl_said: ttl.is_some(),
            file: self.out.files.len(),
        };
        self.out.files.push(name.to_owned());
        let mut entries = Entries::new(text);
        while let Some(entry) = entries.next() {
            if self.faults.len() >= FAULTS_MAX {
                return;
            }
            let line = entry.line;
            let done = match entry.words {
                Ok(words) => self.entry(&mut state, entry.indented, &words, depth),
                Err(sentence) => Err(sentence),
            };
            if let Err(sentence) = done {
                self.faults.push(Fault {
                    file: name.to_owned(),
                    line,
                    sentence,
                });
            }
        }
    }

    fn entry(
        &mut self,
        state: &mut State,
        indented: bool,
        words: &[Word],
        depth: usize,
    ) -> Result<(), String> {
        let Some((first, mut rest)) = words.split_first() else {
            return Ok(());
        };
        if !indented && first.text.starts_with(b"$") && !first.quoted {
            return self.control(state, first, rest, depth);
        }
        if indented {
            rest = words;
        } else {
            state.owner = Some(first.name(state.origin.as_ref())?);
        }
        let owner = state.owner.clone();
        let owner = owner.ok_or("a record without a name, and none before it")?;
        let (mut ttl, mut class) = (None, false);
        let (kind_word, data) = loop {
            let (word, more) = rest.split_first().ok_or("a record without a type")?;
            let text = word.as_str();
            if !class && text.eq_ignore_ascii_case("IN") {
                class = true;
            } else if !class
                && ["CH", "HS", "CS"]
                    .iter()
                    .any(|c| text.eq_ignore_ascii_case(c))
            {
                return Err(format!("class {text}; only IN is served"));
            } else if ttl.is_none() && text.starts_with(|c: char| c.is_ascii_digit()) {
                let seconds = record::seconds(text);
                ttl = Some(seconds.ok_or_else(|| format!("{text:?} is not a time in seconds"))?);
            } else {
                break (word, more);
            }
            rest = more;
        };
        let text = kind_word.as_str();
        let kind = record::kind_of(text).ok_or_else(|| {
            format!("unknown type {text:?}; types that are not known by name are TYPE and a number")
        })?;
        let meta = matches!(kind, 0 | kind::OPT | 128..=255);
        if meta {
            return Err(format!("{text} is a type of queries, not of records"));
        }
        let data = record::data(kind, data, state.origin.as_ref())?;
        let ttl = ttl
            .or(state.ttl)
            .or_else(|| data.minimum())
            .ok_or("a record without a time to live; give $TTL at the top")?;
        if !state.ttl_said {
            state.ttl = Some(ttl);
        }
        self.out.records.push(Record {
            owner,
            ttl,
            kind,
            data,
            file: state.file,
            line: first.line,
        });
        Ok(())
    }

    fn control(
        &mut self,
        state: &mut State,
        what: &Word,
        rest: &[Word],
        depth: usize,
    ) -> Result<(), String> {
        let word = what.as_str().to_ascii_uppercase();
        match (&word[..], rest) {
            ("$ORIGIN", [name]) => state.origin = Some(name.name(state.origin.as_ref())?),
            ("$TTL", [ttl]) => {
                let seconds = record::seconds(ttl.as_str());
                state.ttl = Some(seconds.ok_or("$TTL is followed by a time in seconds")?);
                state.ttl_said = true;
            }
            ("$INCLUDE", [file, origin @ ..]) if origin.len() < 2 => {
                if depth >= INCLUDES_MAX {
                    return Err(format!("files include each other {INCLUDES_MAX} deep"));
                }
                let origin = match origin {
                    [name] => Some(name.name(state.origin.as_ref())?),
                    _ => state.origin.clone(),
                };
                let file = String::from_utf8_lossy(&file.text).into_owned();
                let text = (self.include)(&file)?;
                let ttl = state.ttl.filter(|_| state.ttl_said);
                self.file(&file, &text, origin, ttl, depth + 1);
            }
            ("$ORIGIN" | "$TTL" | "$INCLUDE", _) => {
                return Err(format!("{word} is followed by one value"));
            }
            _ => return Err(format!("{word}; there are $ORIGIN, $TTL and $INCLUDE")),
        }
        Ok(())
    }
}

/// An entry: the words of a line, or of several within parentheses.
struct Entry {
    line: usize,
    indented: bool,
    words: Result<Vec<Word>, String>,
}

/// Cuts a text into entries.
struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Entries<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
            line: 1,
        }
    }

    fn next(&mut self) -> Option<Entry> {
        let byte = self.bytes.get(self.at)?;
        let (line, indented) = (self.line, matches!(byte, b' ' | b'\t'));
        let words = self.words();
        if words.is_err() {
            // What follows on this line is not read.
            while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                self.at += 1;
            }
            self.at += 1;
            self.line += 1;
        }
        Some(Entry {
            line,
            indented,
            words,
        })
    }

    fn words(&mut self) -> Result<Vec<Word>, String> {
        let mut words = Vec::new();
        let mut open = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if !open {
                        return Ok(words);
                    }
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b';' => {
                    while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                        self.at += 1;
                    }
                }
                b'(' if !open => {
                    open = true;
                    self.at += 1;
                }
                b')' if open => {
                    open = false;
                    self.at += 1;
                }
                b'(' => return Err("a parenthesis within another".to_owned()),
                b')' => return Err("a parenthesis is closed that is not open".to_owned()),
                b'"' => words.push(self.quoted()?),
                _ => words.push(self.word()),
            }
        }
        match open {
            true => Err("a parenthesis is not closed".to_owned()),
            false => Ok(words),
        }
    }

    fn quoted(&mut self) -> Result<Word, String> {
        let line = self.line;
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let byte = self.bytes.get(self.at).copied();
            self.at += 1;
            match byte {
                Some(b'"') => break,
                Some(b'\\') => {
                    text.push(b'\\');
                    let next = self.bytes.get(self.at).filter(|byte| **byte != b'\n');
                    text.push(*next.ok_or("a quoted string is not closed")?);
                    self.at += 1;
                }
                Some(b'\n') | None => {
                    self.at -= 1;
                    return Err("a quoted string is not closed on its line".to_owned());
                }
                Some(byte) => text.push(byte),
            }
        }
        Ok(Word {
            text,
            quoted: true,
            line,
        })
    }

    fn word(&mut self) -> Word {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => break,
                b'\\' if self.bytes.get(self.at + 1).is_some_and(|b| *b != b'\n') => self.at += 2,
                _ => self.at += 1,
            }
        }
        Word {
            text: self.bytes[start..self.at].to_vec(),
            quoted: false,
            line: self.line,
        }
    }
}

#[cfg(test)]
mod tests;
