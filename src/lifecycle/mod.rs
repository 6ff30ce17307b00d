//! lifecycle/mod
