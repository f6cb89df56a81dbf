//! Seeded network, clock and disk for tests of whole fleets in one process.
