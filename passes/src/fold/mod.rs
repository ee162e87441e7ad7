//! Constants merged into their neighbours.
