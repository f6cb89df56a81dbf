//! The ordering rule, and merging journals into a timeline; pure.
