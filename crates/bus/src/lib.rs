//! The back-end network: announces journals to whoever subscribes.
