//! Tasks, worker threads, drain.

pub mod tasks;
