//! Operations that targets lack, in terms of others.
