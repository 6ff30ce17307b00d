//! The data plane: the only module that knows the order of a request.

pub mod error;
