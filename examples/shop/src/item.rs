//! What the shop sells.

use serde::Serialize;

/// A good or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its id in orders.
    pub id: &'static str,
    /// Its name on the page.
    pub name: &'static str,
    /// What one costs, in cents.
    pub price_cents: u64,
    /// How many the stock holds at the start.
    #[serde(skip)]
    pub stock: u64,
}

/// Everything in the catalogue.
pub const ITEMS: &[Item] = &[
    item("umbrella", "Umbrella of the weather show", 1_990, 1_000_000),
    item("kettle", "Kettle for the half-time tea", 3_450, 1_000_000),
    item("jersey", "Home jersey", 7_900, 1_000_000),
    item(
        "window-cleaning",
        "Window cleaning, one hour",
        2_800,
        1_000_000,
    ),
    item("signed-ball", "Ball signed by the team", 25_000, 10_000),
];

const fn item(id: &'static str, name: &'static str, price_cents: u64, stock: u64) -> Item {
    Item {
        id,
        name,
        price_cents,
        stock,
    }
}

/// What one of anything else costs, in cents: it is made to order.
pub(crate) const TO_ORDER_CENTS: u64 = 500;

/// The item of this id, if the shop has it there.
pub(crate) fn find(id: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == id)
}

/// Whether something can be called so at all: 1 to 64 letters, digits, `-`, `_`, `.` or spaces,
/// the first a letter or a digit. (It becomes a part of a path: nothing that could mean another
/// path may pass.)
pub(crate) fn is_name(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_. ".contains(&b);
    id.len() <= 64 && id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.bytes().all(plain)
}
