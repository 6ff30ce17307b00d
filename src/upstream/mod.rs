//! The stateful shell around the policies: guards, endpoints, views.

pub mod bulkhead;
pub mod view;
