//! What every server has: its journal, its memory of peers, its reporting agent.
