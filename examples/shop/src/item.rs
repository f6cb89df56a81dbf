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

/// Everything in the catalogue. Of the signed ball there are only three: the fourth order is
/// refused.
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
    item("signed-ball", "Ball signed by the team", 25_000, 3),
];

const fn item(id: &'static str, name: &'static str, price_cents: u64, stock: u64) -> Item {
    Item {
        id,
        name,
        price_cents,
        stock,
    }
}

/// The item of this id.
pub(crate) fn find(id: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == id)
}
