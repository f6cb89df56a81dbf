//! The visit's cart: what is wanted, but not ordered yet.
//!
//! It is a value of the session's state, so it goes with the visit to whichever server takes its
//! next request. Two requests that did not know of each other leave two carts; the viewer wanted
//! what is in either, so they are read as one, of each item the greater quantity.

use std::collections::BTreeMap;

use selvedge::{Exchange, SessionState, StateError};
use serde::{Deserialize, Serialize};

use crate::item;
use crate::order::QUANTITY_MAX;
use crate::refusal::Refusal;

/// Different items that a cart holds.
const ITEMS_MAX: usize = 50;

/// Quantities by item.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cart(BTreeMap<String, u64>);

/// So many of an item; 0 takes it out.
#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    item: String,
    quantity: u64,
}

impl Cart {
    /// The cart of the visit.
    pub(crate) fn of(exchange: &Exchange) -> Result<Self, Refusal> {
        let carts = state(exchange).candidates()?.into_iter();
        let mut cart = Self::default();
        for other in carts.filter_map(|candidate| candidate.value) {
            for (item, quantity) in other.0 {
                let held = cart.0.entry(item).or_default();
                *held = quantity.max(*held);
            }
        }
        Ok(cart)
    }

    /// Puts a line into it, and keeps it for the visit.
    pub(crate) fn put(mut self, line: Line, exchange: &Exchange) -> Result<Self, Refusal> {
        if line.quantity > QUANTITY_MAX {
            return Err(Refusal::bad(format!(
                "a quantity of {} is too much: it must be at most {QUANTITY_MAX}",
                line.quantity
            )));
        }
        if !item::is_name(&line.item) {
            return Err(Refusal::no_item(&line.item));
        }
        if line.quantity == 0 {
            self.0.remove(&line.item);
        } else {
            self.0.insert(line.item, line.quantity);
        }
        if self.0.len() > ITEMS_MAX {
            return Err(Refusal::bad(format!(
                "a cart holds at most {ITEMS_MAX} different items"
            )));
        }
        state(exchange).set(&self)?;
        Ok(self)
    }
}

fn state(exchange: &Exchange) -> SessionState<Cart> {
    exchange.state("cart")
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        Self::upstream(error.to_string())
    }
}
