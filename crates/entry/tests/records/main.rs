//! Records and entries: their forms, and what is the same whatever the order.

mod any;
mod binary;
mod fixture;
mod fold;
mod json;
