//! Deadline arithmetic.
