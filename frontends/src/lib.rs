//! Model and tensor readers.
