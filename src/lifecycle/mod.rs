//! Tasks, worker threads, drain.

pub mod exec;
pub mod signals;
pub mod tasks;
