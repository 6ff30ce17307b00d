//! Which responses count as failures.

/// Status and gRPC codes that are failures, or no evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// HTTP statuses that are failures (default 500-599).
    pub failure_status: StatusSet,
    /// HTTP statuses that are no evidence (default none).
    pub ignore_status: StatusSet,
    /// gRPC statuses that are failures (default 2, 4, 13, 14, 15).
    pub failure_grpc: Vec<u8>,
}

/// A set of HTTP statuses as inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(pub Vec<(u16, u16)>);
