//! The section `[identifier]`: how servers write request identifiers (D1-D4, D15), for all and for
//! single services.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use selvedge_identity::Shape;
use selvedge_node::{IdentifierOptions, Levels, Wrap};
use serde::Deserialize;

/// The whole section.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentifierSection {
    stack: u8,
    id_bytes: u8,
    depth_increment: u32,
    levels: Vec<u32>,
    correct: bool,
    wrap: Vec<WrapName>,
    services: BTreeMap<String, ServiceSection>,
}

/// What is other for one service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServiceSection {
    stack: Option<u8>,
    id_bytes: Option<u8>,
    correct: Option<bool>,
    wrap: Option<Vec<WrapName>>,
}

/// A form of another system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrapName {
    B3,
    B3Multi,
}

/// What holds for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OfService {
    stack: u8,
    id_bytes: u8,
    depth_increment: u32,
    correct: bool,
    wrap: Wrap,
}

impl Default for IdentifierSection {
    fn default() -> Self {
        let shape = Shape::default();
        Self {
            stack: shape.k,
            id_bytes: shape.width,
            depth_increment: shape.depth_increment,
            levels: Vec::new(),
            correct: false,
            wrap: Vec::new(),
            services: BTreeMap::new(),
        }
    }
}

impl IdentifierSection {
    /// What holds for a service.
    pub(crate) fn of(&self, service: &str) -> OfService {
        let own = self.services.get(service).cloned().unwrap_or_default();
        let wrap = own.wrap.as_ref().unwrap_or(&self.wrap);
        OfService {
            stack: own.stack.unwrap_or(self.stack),
            id_bytes: own.id_bytes.unwrap_or(self.id_bytes),
            depth_increment: self.depth_increment,
            correct: own.correct.unwrap_or(self.correct),
            wrap: Wrap {
                b3: wrap.contains(&WrapName::B3),
                b3_multi: wrap.contains(&WrapName::B3Multi),
            },
        }
    }

    /// A node's options of that.
    ///
    /// # Errors
    /// A table of levels that is none.
    pub(crate) fn options(&self, of: &OfService) -> Result<IdentifierOptions> {
        Ok(IdentifierOptions {
            correct: of.correct,
            wrap: of.wrap,
            levels: self.levels()?,
        })
    }

    fn levels(&self) -> Result<Levels> {
        if self.levels.is_empty() && self.depth_increment > 1 {
            return Ok(Levels::Step(self.depth_increment));
        }
        Levels::table(&self.levels).map_err(|why| anyhow!("identifier.levels {why}"))
    }

    /// Ranges that a type does not hold.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(crate) fn check(&self) -> Result<()> {
        let sizes = |place: &str, stack: u8, id_bytes: u8| {
            if !(1..=16).contains(&stack) {
                return Err(anyhow!("{place}.stack is {stack}; it must be 1 to 16"));
            }
            if !(1..=8).contains(&id_bytes) {
                return Err(anyhow!("{place}.id_bytes is {id_bytes}; it must be 1 to 8"));
            }
            Ok(())
        };
        sizes("identifier", self.stack, self.id_bytes)?;
        for service in self.services.keys() {
            let own = self.of(service);
            let place = format!("identifier.services.{service}");
            sizes(&place, own.stack, own.id_bytes)?;
        }
        if self.depth_increment == 0 {
            return Err(anyhow!(
                "identifier.depth_increment is 0; it must be 1 or more"
            ));
        }
        if self.depth_increment > 1 && !self.levels.is_empty() {
            return Err(anyhow!(
                "identifier.depth_increment and identifier.levels exclude each other; leave one out"
            ));
        }
        self.levels().map(|_| ())
    }
}

impl OfService {
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            k: self.stack,
            width: self.id_bytes,
            depth_increment: self.depth_increment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> IdentifierSection {
        toml::from_str(text).expect("valid")
    }

    #[test]
    fn a_service_has_its_own_where_it_says_so_and_else_what_all_have() {
        let section = read(
            "stack = 3\nwrap = [\"b3\"]\n[services.catalogue]\nid_bytes = 8\nwrap = [\"b3-multi\"]\n",
        );
        section.check().expect("in range");
        let of_all = section.of("payment");
        assert_eq!((of_all.stack, of_all.id_bytes), (3, 4));
        assert!(of_all.wrap.b3 && !of_all.wrap.b3_multi);
        let own = section.of("catalogue");
        assert_eq!((own.stack, own.id_bytes), (3, 8));
        assert!(!own.wrap.b3 && own.wrap.b3_multi);
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_its_key() {
        for (text, key) in [
            ("stack = 0", "identifier.stack"),
            (
                "[services.x]\nid_bytes = 9",
                "identifier.services.x.id_bytes",
            ),
            ("depth_increment = 0", "identifier.depth_increment"),
            ("levels = [1, 1]", "identifier.levels"),
            ("depth_increment = 2\nlevels = [1, 2]", "exclude each other"),
        ] {
            let refused = read(text).check().expect_err("refused").to_string();
            assert!(refused.contains(key), "{text}: {refused}");
        }
    }
}
