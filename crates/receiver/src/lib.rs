//! The client program: browses, orders, votes, and keeps its session.
