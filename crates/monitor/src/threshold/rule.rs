//! A rule: what is counted, over which window, and the levels.

use std::time::Duration;

use selvedge_filter::{Field, Filter, FilterError, Needs};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Panes of a sliding window, at most: its size by its step.
pub(super) const PANES_MAX: u32 = 600;
/// Groups of a rule, at most.
const GROUPS_MAX: usize = 100_000;
/// Groups of a rule that names no limit.
const GROUPS_DEFAULT: usize = 1000;
/// How late an entry of an ended window may come, where the rule does not say.
const LATENESS_DEFAULT: Duration = Duration::from_secs(10);

/// A rule as the configuration says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Its name: one of letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Which entries count, in the language of `selvedge_filter`.
    #[serde(default)]
    pub filter: String,
    /// What is counted: `events`, `distinct FIELD`, `sum FIELD`, `error share`, `p99 FIELD` (any
    /// percentile; of `duration` if no field is named).
    #[serde(default = "events")]
    pub count: String,
    /// `since start`, `tumbling 1m`, `sliding 5m`, `sliding 5m step 5s`.
    #[serde(default = "since_start")]
    pub window: String,
    /// `above` (default): it raises at the level or more. `below`: at the level or less.
    #[serde(default)]
    pub side: Side,
    /// The level at which it raises: a number, or a duration for a percentile of `duration`.
    pub raise: Level,
    /// The level at which it clears; as `raise` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Level>,
    /// How long the level must hold before it raises.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    /// How long it keeps firing after the level was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<String>,
    /// A count for each value of this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// So many groups at most; entries of further ones are counted as left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_max: Option<usize>,
    /// How late an entry of an ended tumbling window may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness: Option<String>,
}

fn events() -> String {
    "events".to_owned()
}

fn since_start() -> String {
    "since start".to_owned()
}

/// A level: a number, or a duration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// A number.
    Number(f64),
    /// A duration, such as `250ms`.
    Text(String),
}

/// On which side of its level a rule fires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// At the level or more.
    #[default]
    Above,
    /// At the level or less.
    Below,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// Entries.
    Events,
    /// Different values of a field: users, sessions.
    Distinct(Field),
    /// The sum of a field's numbers.
    Sum(Field),
    /// The share of entries that failed (outcome `error`), 0 to 1.
    ErrorShare,
    /// A percentile (0 to 100, both excluded) of a field's numbers.
    Percentile(f64, Field),
}

/// Over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// Everything since the monitor's start with this rule.
    SinceStart,
    /// One window after the other, of this size, aligned to the epoch.
    Tumbling(Duration),
    /// The last `size`, moving on by `step`.
    Sliding {
        /// Its length.
        size: Duration,
        /// How finely its end moves.
        step: Duration,
    },
}

/// Why a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("threshold {rule}: {key}: {reason}")]
pub struct RuleError {
    /// The rule's name.
    pub rule: String,
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong, and what to write.
    pub reason: String,
}

/// A rule, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub(crate) name: Box<str>,
    pub(crate) filter: Filter,
    pub(crate) counted: Counted,
    pub(crate) window: Window,
    pub(crate) side: Side,
    pub(crate) raise: f64,
    pub(crate) clear: f64,
    pub(crate) hold: Duration,
    pub(crate) keep_firing_for: Duration,
    pub(crate) group_by: Option<Field>,
    pub(crate) groups_max: usize,
    pub(crate) lateness: Duration,
}

impl Rule {
    /// Checks a rule. One that can never fire, or always fires, is refused.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn new(config: &RuleConfig) -> Result<Self, RuleError> {
        let error = |key, reason: String| RuleError {
            rule: config.name.clone(),
            key,
            reason,
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if config.name.is_empty() || config.name.len() > 64 || !config.name.bytes().all(named) {
            let reason = "1 to 64 letters, digits, '-', '_' or '.'".to_owned();
            return Err(error("name", reason));
        }
        let filter = Filter::parse(&config.filter)
            .map_err(|fault: FilterError| error("filter", fault.to_string()))?;
        if let Some(why) = filter.contradiction() {
            return Err(error("filter", format!("it can never hold: {why}")));
        }
        let counted = counted(&config.count).map_err(|reason| error("count", reason))?;
        let window = window(&config.window).map_err(|reason| error("window", reason))?;
        let of_duration = matches!(
            &counted,
            Counted::Percentile(_, Field::Duration) | Counted::Sum(Field::Duration)
        );
        let raise = level(&config.raise, of_duration).map_err(|reason| error("raise", reason))?;
        let clear = match &config.clear {
            None => raise,
            Some(clear) => level(clear, of_duration).map_err(|reason| error("clear", reason))?,
        };
        let span = |key, text: &Option<String>, default| match text {
            None => Ok(default),
            Some(text) => duration(text).map_err(|reason| error(key, reason)),
        };
        let group_by = match &config.group_by {
            None => None,
            Some(name) => Some(Field::named(name).ok_or_else(|| {
                let reason = format!("no field {name}; there are {}", Field::names());
                error("group_by", reason)
            })?),
        };
        let rule = Self {
            name: config.name.as_str().into(),
            filter,
            counted,
            window,
            side: config.side,
            raise,
            clear,
            hold: span("for", &config.hold, Duration::ZERO)?,
            keep_firing_for: span("keep_firing_for", &config.keep_firing_for, Duration::ZERO)?,
            group_by,
            groups_max: config.groups_max.unwrap_or(GROUPS_DEFAULT),
            lateness: span("lateness", &config.lateness, LATENESS_DEFAULT)?,
        };
        match rule.fault(config) {
            None => Ok(rule),
            Some((key, reason)) => Err(error(key, reason)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How much of an entry it must see.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let counted = match &self.counted {
            Counted::Events => Needs::Opening,
            // A status that a broken connection takes back is not yet an error.
            Counted::ErrorShare => Needs::Closing,
            Counted::Distinct(field) | Counted::Sum(field) | Counted::Percentile(_, field) => {
                field.needs()
            }
        };
        let group = self.group_by.as_ref().map(Field::needs).unwrap_or_default();
        self.filter.needs().max(counted).max(group)
    }

    /// What makes it useless although each key is right.
    fn fault(&self, config: &RuleConfig) -> Option<(&'static str, String)> {
        self.level_fault()
            .or_else(|| self.time_fault(config))
            .or_else(|| self.group_fault(config))
    }

    /// A level that is never reached, or always.
    fn level_fault(&self) -> Option<(&'static str, String)> {
        let (raise, clear) = (self.raise, self.clear);
        let wrong_way = match self.side {
            Side::Above => clear > raise,
            Side::Below => clear < raise,
        };
        if wrong_way {
            let reason = format!("{clear} is beyond raise, {raise}: it would clear at once");
            return Some(("clear", reason));
        }
        let (least, most) = self.values();
        let (never, always) = match self.side {
            Side::Above => (raise > most, raise <= least),
            Side::Below => (raise < least, raise >= most),
        };
        if never {
            let reason = format!("{raise} is never reached: the count is {least} to {most}");
            return Some(("raise", reason));
        }
        if always {
            let reason = format!("{raise} is always reached: the count is {least} to {most}");
            return Some(("raise", reason));
        }
        let unclear = match self.side {
            Side::Above => clear <= least,
            Side::Below => clear >= most,
        };
        if unclear {
            let reason = format!("at {clear} it never clears: the count is {least} to {most}");
            return Some(("clear", reason));
        }
        if self.counted == Counted::ErrorShare {
            let failed = Filter::parse("outcome = error").map(|failed| self.filter.and(&failed));
            if self.side == Side::Above
                && let Some(why) = failed.ok().and_then(|failed| failed.contradiction())
            {
                return Some(("filter", format!("no entry of it has failed: {why}")));
            }
        }
        None
    }

    /// The least and the greatest count that there can be.
    fn values(&self) -> (f64, f64) {
        match &self.counted {
            Counted::Sum(field) if !field.is_number() => (f64::NEG_INFINITY, f64::INFINITY),
            Counted::Percentile(_, field) if !field.is_number() => {
                (f64::NEG_INFINITY, f64::INFINITY)
            }
            Counted::Percentile(_, Field::Status) => (0.0, 999.0),
            Counted::ErrorShare => (0.0, 1.0),
            // In a group of one value there is one.
            Counted::Distinct(field) if self.group_by.as_ref() == Some(field) => (0.0, 1.0),
            Counted::Distinct(field) => {
                let few = field.values().map(|values| values.len() as f64);
                (0.0, few.unwrap_or(f64::INFINITY))
            }
            Counted::Events | Counted::Sum(_) | Counted::Percentile(..) => (0.0, f64::INFINITY),
        }
    }

    /// A window that the rest does not fit.
    fn time_fault(&self, config: &RuleConfig) -> Option<(&'static str, String)> {
        let grows = !matches!(self.counted, Counted::Sum(_));
        if self.side == Side::Below && self.window == Window::SinceStart && grows {
            let reason = "below a level since the start: write a tumbling or sliding window";
            return Some(("window", reason.to_owned()));
        }
        let Window::Tumbling(size) = self.window else {
            return config.lateness.as_ref().map(|_| {
                let reason = "only a tumbling window has an end: leave it out";
                ("lateness", reason.to_owned())
            });
        };
        // Below a level each window is asked for at its end, and several may hold.
        if self.side == Side::Above && self.hold >= size {
            let reason = "never reached: as long as the window, after which counts begin anew; \
                          write a shorter time or a sliding window";
            return Some(("for", reason.to_owned()));
        }
        if self.lateness > size.saturating_mul(PANES_MAX) {
            let reason = format!("at most {PANES_MAX} windows");
            return Some(("lateness", reason));
        }
        None
    }

    fn group_fault(&self, config: &RuleConfig) -> Option<(&'static str, String)> {
        if !(1..=GROUPS_MAX).contains(&self.groups_max) {
            return Some(("groups_max", format!("write 1 to {GROUPS_MAX}")));
        }
        if config.groups_max.is_some() && self.group_by.is_none() {
            let reason = "there are no groups: write group_by, or leave it out";
            return Some(("groups_max", reason.to_owned()));
        }
        None
    }
}

fn counted(text: &str) -> Result<Counted, String> {
    const FORMS: &str = "events, distinct FIELD, sum FIELD, error share, p99 [FIELD]";
    let words: Vec<&str> = text.split_whitespace().collect();
    let field = |name: &str| {
        Field::named(name).ok_or_else(|| format!("no field {name}; there are {}", Field::names()))
    };
    let number = |name: &str| match field(name)? {
        field if field.may_be_number() => Ok(field),
        field => Err(format!(
            "{field} is never a number; write duration, work, status, depth, or a field that is kept"
        )),
    };
    let percentile = |word: &str| {
        let number = word.strip_prefix('p')?.parse::<f64>().ok()?;
        (number > 0.0 && number < 100.0).then_some(number)
    };
    match words[..] {
        ["events"] => Ok(Counted::Events),
        ["distinct", name] => Ok(Counted::Distinct(field(name)?)),
        ["sum", name] => Ok(Counted::Sum(number(name)?)),
        ["error", "share"] => Ok(Counted::ErrorShare),
        [first, ref rest @ ..] if rest.len() < 2 => match percentile(first) {
            Some(percent) => {
                let name = rest.first().copied().unwrap_or("duration");
                Ok(Counted::Percentile(percent, number(name)?))
            }
            None => Err(format!("{text} is none of {FORMS}")),
        },
        _ => Err(format!("{text} is none of {FORMS}")),
    }
}

fn window(text: &str) -> Result<Window, String> {
    const FORMS: &str = "since start, tumbling 1m, sliding 5m, sliding 5m step 5s";
    let words: Vec<&str> = text.split_whitespace().collect();
    let length = |text: &str| match duration(text)? {
        length if length < Duration::from_millis(1) => Err("at least 1ms".to_owned()),
        length => Ok(length),
    };
    match words[..] {
        ["since", "start"] => Ok(Window::SinceStart),
        ["tumbling", size] => Ok(Window::Tumbling(length(size)?)),
        ["sliding", size] => {
            let size = length(size)?;
            let step = (size / 60).max(Duration::from_millis(1));
            Ok(Window::Sliding { size, step })
        }
        ["sliding", size, "step", step] => {
            let (size, step) = (length(size)?, length(step)?);
            if step > size || size.as_nanos() > step.as_nanos() * u128::from(PANES_MAX) {
                return Err(format!("the step must be 1/{PANES_MAX} to all of the size"));
            }
            Ok(Window::Sliding { size, step })
        }
        _ => Err(format!("{text} is none of {FORMS}")),
    }
}

fn level(level: &Level, of_duration: bool) -> Result<f64, String> {
    let number = match level {
        Level::Number(number) if of_duration => {
            return Err(format!(
                "{number} of what? write a duration, such as \"{number}ms\""
            ));
        }
        Level::Number(number) => *number,
        Level::Text(text) if of_duration => duration(text)?.as_nanos() as f64,
        Level::Text(text) => text
            .parse()
            .map_err(|_| format!("{text} is not a number"))?,
    };
    number
        .is_finite()
        .then_some(number)
        .ok_or_else(|| "not a finite number".to_owned())
}

/// Reads a duration: a number with one of ns, us, ms, s, m, h, d.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => {
            return Err(format!(
                "{text} is no duration: write for one 250ms, 30s, 5m"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text} is no duration"))?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        // Instants are nanoseconds in 64 bits.
        .filter(|length| *length <= Duration::from_secs(366 * 86400 * 100))
        .ok_or_else(|| format!("{text} is too long"))
}
