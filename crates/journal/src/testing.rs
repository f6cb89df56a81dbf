//! A disk in memory that fails the way real ones do.
