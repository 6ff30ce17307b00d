//! Which responses count as failures.
//!
//! It sees numbers and whether the stream ended as it should; when a verdict is due is decided
//! by the data plane. What ends without a response head has its verdict in the table of
//! [`crate::proxy::error`].

use super::Verdict;

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

impl Rules {
    /// Judges a response head by its status.
    ///
    /// A status in both sets is ignored, so that single ones can be taken out of a range of
    /// failures. Every status in neither is a success, 4xx and 429 included: the upstream
    /// answered.
    pub fn status(&self, status: u16) -> Verdict {
        if self.ignore_status.contains(status) {
            Verdict::Ignored
        } else if self.failure_status.contains(status) {
            Verdict::Failure
        } else {
            Verdict::Success
        }
    }

    /// Judges a response to a gRPC call once its stream is over.
    ///
    /// `grpc_status` comes from the trailers, or from the head if there was nothing else;
    /// `ended_clean` is false if the upstream broke the body off. A stream without a status is a
    /// failure, unless its HTTP status says that it was no gRPC answer: then that decides.
    pub fn grpc(&self, http_status: u16, grpc_status: Option<u32>, ended_clean: bool) -> Verdict {
        match grpc_status {
            Some(code) if self.failure_grpc.iter().any(|&c| u32::from(c) == code) => {
                Verdict::Failure
            }
            Some(_) => Verdict::Success,
            None if http_status == 200 => Verdict::Failure,
            None => match self.status(http_status) {
                Verdict::Success if !ended_clean => Verdict::Failure,
                verdict => verdict,
            },
        }
    }
}

/// Whether a request of this content type is a gRPC call, whose outcome stands in the trailers. Of
/// gRPC-Web, which has them in the body, it does not.
pub fn is_grpc(content_type: &[u8]) -> bool {
    let subtype = content_type.strip_prefix(b"application/grpc");
    subtype.is_some_and(|subtype| matches!(subtype.first(), None | Some(b'+' | b';' | b' ')))
}

/// A set of HTTP statuses as inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(pub Vec<(u16, u16)>);

impl StatusSet {
    /// Whether `status` lies in one of the ranges.
    pub fn contains(&self, status: u16) -> bool {
        self.0
            .iter()
            .any(|&(from, to)| (from..=to).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Failure, Ignored, Success};
    use super::*;

    fn rules() -> Rules {
        Rules {
            failure_status: StatusSet(vec![(500, 599), (418, 418)]),
            ignore_status: StatusSet(vec![(404, 404), (501, 502)]),
            failure_grpc: vec![2, 4, 13, 14, 15],
        }
    }

    #[test]
    fn a_grpc_call_is_known_by_its_type() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }

    #[test]
    fn ranges_are_inclusive() {
        let set = StatusSet(vec![(500, 502), (599, 599)]);
        for (status, expected) in [
            (499, false),
            (500, true),
            (501, true),
            (502, true),
            (503, false),
            (598, false),
            (599, true),
            (600, false),
        ] {
            assert_eq!(set.contains(status), expected, "{status}");
        }
        assert!(!StatusSet::default().contains(500));
    }

    #[test]
    fn statuses_are_judged_and_ignoring_wins() {
        for (status, expected) in [
            (101, Success),
            (200, Success),
            (302, Success),
            (400, Success),
            (404, Ignored),
            (418, Failure),
            (429, Success),
            (499, Success),
            (500, Failure),
            (501, Ignored),
            (502, Ignored),
            (503, Failure),
            (599, Failure),
            (600, Success),
        ] {
            assert_eq!(rules().status(status), expected, "{status}");
        }
    }

    #[test]
    fn grpc_is_judged_by_its_status_or_else_by_the_http_status() {
        for (http, grpc, ended_clean, expected) in [
            (200, Some(0), true, Success),
            (200, Some(1), true, Success),
            (200, Some(2), true, Failure),
            (200, Some(4), true, Failure),
            (200, Some(5), true, Success),
            (200, Some(13), true, Failure),
            (200, Some(14), true, Failure),
            (200, Some(15), true, Failure),
            (200, Some(16), true, Success),
            (200, Some(256 + 14), true, Success), // no wrap into the set
            (200, Some(u32::MAX), true, Success),
            (200, None, true, Failure),
            (200, None, false, Failure),
            (503, Some(0), true, Success),
            (503, None, true, Failure),
            (503, None, false, Failure),
            (403, None, true, Success),
            (403, None, false, Failure),
            (404, None, true, Ignored),
            (404, None, false, Ignored),
        ] {
            let verdict = rules().grpc(http, grpc, ended_clean);
            assert_eq!(verdict, expected, "{http} {grpc:?} {ended_clean}");
        }
    }
}
