//! Keeps entries, builds trees and timelines, answers queries.
