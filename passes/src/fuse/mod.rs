//! Several operations recognised as one.
