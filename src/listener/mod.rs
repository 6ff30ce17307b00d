//! listener/mod
