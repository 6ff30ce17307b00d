//! The stateful shell around the policies: guards, endpoints, views.

pub mod view;
