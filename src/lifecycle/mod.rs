//! Tasks, worker threads, signals, drain.

pub mod cores;
pub mod drain;
pub mod exec;
pub mod signals;
pub mod tasks;
pub mod workers;
