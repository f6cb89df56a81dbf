//! The load balancer, with the log server in it.
