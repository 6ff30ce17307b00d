//! Bounded concurrency with a bounded FIFO queue.
