//! The example file.
