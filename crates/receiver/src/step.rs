//! One thing a viewer does.

use std::fmt;
use std::str::FromStr;

use crate::BrowseError;

/// A step of a walk through the shop. As text: `page`, `channel`, `orders`,
/// `order[:item[:quantity]]`, `vote[:choice]`, `broadcast:content`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens the page: `GET /`.
    Page,
    /// Fetches the interactive content: `GET /channel`.
    Channel,
    /// Orders an item: `POST /orders`.
    Order {
        /// Which; none: the next of the items that the channel showed.
        item: Option<String>,
        /// How many.
        quantity: u32,
    },
    /// Looks at the visit's orders: `GET /orders`.
    Orders,
    /// Votes: `POST /vote`.
    Vote {
        /// For what.
        choice: String,
    },
    /// Orders content to be broadcast: `POST /broadcast`.
    Broadcast {
        /// Which content.
        content: String,
    },
}

/// What a viewer does by default: opens the page, sees what is on, orders, votes, looks at the
/// orders, and sees what is on now.
#[must_use]
pub fn default_walk() -> Vec<Step> {
    vec![
        Step::Page,
        Step::Channel,
        Step::Order {
            item: None,
            quantity: 1,
        },
        Step::Vote {
            choice: "red".to_owned(),
        },
        Step::Orders,
        Step::Channel,
    ]
}

impl FromStr for Step {
    type Err = BrowseError;

    fn from_str(text: &str) -> Result<Self, BrowseError> {
        let unknown = || BrowseError::Step(text.to_owned());
        let (name, value) = match text.split_once(':') {
            Some((name, value)) if !value.is_empty() => (name, Some(value)),
            Some(_) => return Err(unknown()),
            None => (text, None),
        };
        match (name, value) {
            ("page", None) => Ok(Self::Page),
            ("channel", None) => Ok(Self::Channel),
            ("orders", None) => Ok(Self::Orders),
            ("order", None) => Ok(Self::Order {
                item: None,
                quantity: 1,
            }),
            ("order", Some(value)) => {
                let (item, quantity) = match value.split_once(':') {
                    Some((item, quantity)) => (item, quantity.parse().map_err(|_| unknown())?),
                    None => (value, 1),
                };
                Ok(Self::Order {
                    item: Some(item.to_owned()),
                    quantity,
                })
            }
            ("vote", choice) => Ok(Self::Vote {
                choice: choice.unwrap_or("red").to_owned(),
            }),
            ("broadcast", Some(content)) => Ok(Self::Broadcast {
                content: content.to_owned(),
            }),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page => f.write_str("page"),
            Self::Channel => f.write_str("channel"),
            Self::Orders => f.write_str("orders"),
            Self::Order { item: None, .. } => f.write_str("order"),
            Self::Order {
                item: Some(item),
                quantity,
            } => write!(f, "order:{item}:{quantity}"),
            Self::Vote { choice } => write!(f, "vote:{choice}"),
            Self::Broadcast { content } => write!(f, "broadcast:{content}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_they_are_written() {
        for text in [
            "page",
            "channel",
            "orders",
            "order",
            "order:umbrella:2",
            "vote:blue",
            "broadcast:match: second half",
        ] {
            assert_eq!(text.parse::<Step>().unwrap().to_string(), text);
        }
        assert_eq!("vote".parse::<Step>().unwrap().to_string(), "vote:red");
    }

    #[test]
    fn unknown_steps_are_refused() {
        for text in [
            "",
            "pages",
            "page:1",
            "order:",
            "order:umbrella:many",
            "broadcast",
        ] {
            assert!(text.parse::<Step>().is_err(), "{text}");
        }
    }
}
