//! The proxy before a content server written in any language.
