//! Attention: recognising it, and splitting heads.
