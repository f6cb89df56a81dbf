//! The interactive-TV shop: example content servers.
