//! Heads with one reading pass, all others do not.
