//! Selvedge for services written in Rust: tower and reqwest layers.
