//! Folds over made-up systems against plain models.

mod audit;
mod paths;
mod sight;
mod world;
