//! Every way a request can fail, and the one table of what each means.
//!
//! [`ProxyError::row`] is exhaustive on purpose: a new error without status, reason, resend
//! safety and verdict does not compile. The manual's table is generated from it by a test.

use std::time::Duration;

use crate::resilience::Verdict;
use crate::resilience::breaker::Rejected;
use crate::resilience::retry::Ended;
use crate::resilience::timeout::Limit;
use crate::tls;

/// Why a request did not get the upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// No route of the listener matches.
    NoRoute,
    /// The request breaks a rule of HTTP; the text says which.
    BadRequest(&'static str),
    /// The caller asks by CONNECT for a protocol that we do not know.
    UnknownProtocol,
    /// The request head is larger than `max_header_bytes`.
    HeadTooLarge,
    /// The request target is longer than the listener's limit.
    TargetTooLong,
    /// The caller names a target that is not in the allow list.
    TargetRefused,
    /// The caller names a target whose addresses must not be reached.
    AddressRefused,
    /// As many targets as there may be are in use.
    TooManyTargets,
    /// The caller stopped sending its body.
    ClientIdle,
    /// The caller sends its body more slowly than `min_body_rate`.
    ClientSlow,
    /// The caller went away or broke its upload off; nobody reads a reply.
    ClientGone,
    /// The breaker is open, or half-open with all probes out.
    BreakerOpen {
        /// Time until probes are admitted; zero while half-open.
        retry_after: Duration,
    },
    /// The rate limit has no token that comes in time.
    RateLimited {
        /// Time until there is one.
        retry_after: Duration,
    },
    /// All slots and all queue places are taken.
    BulkheadFull,
    /// As many requests as the adaptive limit allows are in flight, and all queue places are taken.
    AdaptiveLimit,
    /// No slot came free within `queue_timeout`.
    QueueTimeout,
    /// No connection came free below `max_connections` within `queue_timeout`.
    PoolFull,
    /// No address is known for the upstream.
    NoEndpoint,
    /// The connection was refused, reset or unroutable.
    ConnectFailed,
    /// The handshake of TLS failed.
    Tls(tls::Reason),
    /// The connection was not usable within `connect`.
    ConnectTimeout,
    /// The upstream closed or reset the connection before its response head was whole.
    UpstreamReset,
    /// As [`Self::UpstreamReset`], before a byte of the request was written.
    UpstreamClosed,
    /// The upstream says that it has not processed the request.
    UpstreamRefused,
    /// The upstream takes no upgrades on its connections of HTTP/2.
    UpgradeUnsupported,
    /// What the upstream sent is not HTTP, or exceeds a limit.
    BadResponse,
    /// No response head within `first_byte`.
    AttemptTimeout,
    /// The upstream took no more of the request body for `stream_idle`.
    UpstreamIdle,
    /// No byte passed through a tunnel for `tunnel_idle`.
    TunnelIdle,
    /// `request` or `total` ran out.
    Deadline,
    /// The time that the caller itself gave ran out.
    ClientDeadline,
    /// An injected fault answered with this status.
    FaultAbort(u16),
    /// An injected fault broke the attempt off.
    FaultReset,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller.
    Downstream,
    /// Outrigger: a policy or a limit of ours.
    Local,
    /// The upstream.
    Upstream,
}

/// What is known about the request having reached the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// No byte was sent: safe to resend whatever the method.
    NotSent,
    /// It may have been processed: safe to resend only if idempotent.
    MaybeSent,
    /// A resend cannot help.
    Never,
}

/// The stable name of why a local reply was made: the same word in `Proxy-Status`, log and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each is named and explained by its `ProxyError`"
)]
pub enum Reason {
    NoRoute,
    BadRequest,
    HeadTooLarge,
    TargetTooLong,
    TargetRefused,
    TooManyTargets,
    ClientTimeout,
    ClientGone,
    BreakerOpen,
    RateLimited,
    BulkheadFull,
    AdaptiveLimit,
    QueueTimeout,
    PoolFull,
    NoEndpoint,
    ConnectFailed,
    ConnectTimeout,
    UpstreamReset,
    UpstreamRefused,
    BadResponse,
    AttemptTimeout,
    UpstreamIdle,
    TunnelIdle,
    Deadline,
    FaultInjected,
    UpgradeUnsupported,
    Tls(tls::Reason),
}

impl Reason {
    /// Those that have nothing to do with TLS.
    const OWN: [Self; 26] = [
        Self::NoRoute,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::TargetRefused,
        Self::TooManyTargets,
        Self::ClientTimeout,
        Self::ClientGone,
        Self::BreakerOpen,
        Self::RateLimited,
        Self::BulkheadFull,
        Self::AdaptiveLimit,
        Self::QueueTimeout,
        Self::PoolFull,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::UpstreamReset,
        Self::UpstreamRefused,
        Self::BadResponse,
        Self::AttemptTimeout,
        Self::UpstreamIdle,
        Self::TunnelIdle,
        Self::Deadline,
        Self::FaultInjected,
        Self::UpgradeUnsupported,
    ];

    /// Every reason: `ALL[reason.index()] == reason`.
    pub const ALL: [Self; Self::OWN.len() + tls::Reason::ALL.len()] = {
        let mut all = [Self::NoRoute; Self::OWN.len() + tls::Reason::ALL.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = if index < Self::OWN.len() {
                Self::OWN[index]
            } else {
                Self::Tls(tls::Reason::ALL[index - Self::OWN.len()])
            };
            index += 1;
        }
        all
    };

    /// Where it stands in [`Self::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::NoRoute => 0,
            Self::BadRequest => 1,
            Self::HeadTooLarge => 2,
            Self::TargetTooLong => 3,
            Self::TargetRefused => 4,
            Self::TooManyTargets => 5,
            Self::ClientTimeout => 6,
            Self::ClientGone => 7,
            Self::BreakerOpen => 8,
            Self::RateLimited => 9,
            Self::BulkheadFull => 10,
            Self::AdaptiveLimit => 11,
            Self::QueueTimeout => 12,
            Self::PoolFull => 13,
            Self::NoEndpoint => 14,
            Self::ConnectFailed => 15,
            Self::ConnectTimeout => 16,
            Self::UpstreamReset => 17,
            Self::UpstreamRefused => 18,
            Self::BadResponse => 19,
            Self::AttemptTimeout => 20,
            Self::UpstreamIdle => 21,
            Self::TunnelIdle => 22,
            Self::Deadline => 23,
            Self::FaultInjected => 24,
            Self::UpgradeUnsupported => 25,
            Self::Tls(reason) => Self::OWN.len() + reason as usize,
        }
    }

    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::BadRequest => "bad_request",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::TargetRefused => "target_refused",
            Self::TooManyTargets => "too_many_targets",
            Self::ClientTimeout => "client_timeout",
            Self::ClientGone => "client_gone",
            Self::BreakerOpen => "breaker_open",
            Self::RateLimited => "rate_limited",
            Self::BulkheadFull => "bulkhead_full",
            Self::AdaptiveLimit => "adaptive_limit",
            Self::QueueTimeout => "queue_timeout",
            Self::PoolFull => "pool_full",
            Self::NoEndpoint => "no_endpoint",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamRefused => "upstream_refused",
            Self::BadResponse => "bad_response",
            Self::AttemptTimeout => "attempt_timeout",
            Self::UpstreamIdle => "upstream_idle",
            Self::TunnelIdle => "tunnel_idle",
            Self::Deadline => "deadline",
            Self::FaultInjected => "fault_injected",
            Self::UpgradeUnsupported => "upgrade_unsupported",
            Self::Tls(reason) => reason.word(),
        }
    }
}

/// What an error means, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who is to blame.
    pub side: Side,
    /// Status of the local reply.
    pub status: u16,
    /// gRPC status of the local reply.
    pub grpc_status: u8,
    /// `error` of `Proxy-Status`, registered by RFC 9209 §2.3.
    pub proxy_status: &'static str,
    /// `details` of `Proxy-Status`, log and metric.
    pub reason: Reason,
    /// Whether the request may be sent again.
    pub resend: Resend,
    /// What the breaker learns from it; `None`: nothing is recorded, no attempt was made.
    pub verdict: Option<Verdict>,
    /// For people: what happened.
    pub title: &'static str,
}

impl ProxyError {
    /// One value of every variant that has nothing to do with TLS.
    const OWN: [Self; 32] = [
        Self::NoRoute,
        Self::BadRequest("…"),
        Self::UnknownProtocol,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::TargetRefused,
        Self::AddressRefused,
        Self::TooManyTargets,
        Self::ClientIdle,
        Self::ClientSlow,
        Self::ClientGone,
        Self::BreakerOpen {
            retry_after: Duration::ZERO,
        },
        Self::RateLimited {
            retry_after: Duration::ZERO,
        },
        Self::BulkheadFull,
        Self::AdaptiveLimit,
        Self::QueueTimeout,
        Self::PoolFull,
        Self::NoEndpoint,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::UpstreamReset,
        Self::UpstreamClosed,
        Self::UpstreamRefused,
        Self::UpgradeUnsupported,
        Self::BadResponse,
        Self::AttemptTimeout,
        Self::UpstreamIdle,
        Self::TunnelIdle,
        Self::Deadline,
        Self::ClientDeadline,
        Self::FaultAbort(503),
        Self::FaultReset,
    ];

    /// One value of every variant, for generated documentation and tests.
    pub fn all() -> impl Iterator<Item = Self> {
        let tls = tls::Reason::ALL.into_iter().map(Self::Tls);
        Self::OWN.into_iter().chain(tls)
    }

    /// The table.
    #[rustfmt::skip] // one row a line reads as the table it is
    pub const fn row(self) -> Row {
        use Resend::{MaybeSent, Never, NotSent};
        use Side::{Downstream, Local, Upstream};
        use Verdict::{Abandoned, Failure, Ignored};
        match self {
            Self::NoRoute            => row(Downstream, 404,  5, "destination_not_found",    Reason::NoRoute,        Never,     None,            "no route matches this request"),
            Self::BadRequest(_)      => row(Downstream, 400, 13, "http_request_error",       Reason::BadRequest,     Never,     None,            "the request is not valid HTTP"),
            Self::UnknownProtocol    => row(Downstream, 501, 12, "http_request_error",       Reason::BadRequest,     Never,     None,            "the protocol that CONNECT asks for is not known"),
            Self::HeadTooLarge       => row(Downstream, 431, 13, "http_request_error",       Reason::HeadTooLarge,   Never,     None,            "the request head is too large"),
            Self::TargetTooLong      => row(Downstream, 414, 13, "http_request_error",       Reason::TargetTooLong,  Never,     None,            "the request target is too long"),
            Self::TargetRefused      => row(Downstream, 403,  7, "http_request_denied",      Reason::TargetRefused,  Never,     None,            "callers may not name this host and port"),
            Self::AddressRefused     => row(Downstream, 403,  7, "destination_ip_prohibited", Reason::TargetRefused,  Never,     None,            "the host has no address that callers may reach"),
            Self::TooManyTargets     => row(Local,      503, 14, "connection_limit_reached", Reason::TooManyTargets, NotSent,   None,            "as many hosts as may be asked at once are being asked"),
            Self::ClientIdle         => row(Downstream, 408,  1, "http_request_error",       Reason::ClientTimeout,  Never,     Some(Ignored)  , "the caller stopped sending its request body"),
            Self::ClientSlow         => row(Downstream, 408,  1, "http_request_error",       Reason::ClientTimeout,  Never,     Some(Ignored)  , "the caller sends its request body too slowly"),
            Self::ClientGone         => row(Downstream, 499,  1, "http_request_error",       Reason::ClientGone,     Never,     Some(Abandoned), "the caller went away"),
            Self::BreakerOpen { .. } => row(Local,      503, 14, "destination_unavailable",  Reason::BreakerOpen,    NotSent,   None,            "the breaker is open: this upstream was failing or slow"),
            Self::RateLimited { .. } => row(Local,      429,  8, "http_request_denied",      Reason::RateLimited,    NotSent,   None,            "more requests than the rate limit of this upstream allows"),
            Self::BulkheadFull       => row(Local,      503, 14, "connection_limit_reached", Reason::BulkheadFull,   NotSent,   None,            "too many requests are in flight and waiting for this upstream"),
            Self::AdaptiveLimit      => row(Local,      503, 14, "connection_limit_reached", Reason::AdaptiveLimit,  NotSent,   None,            "as many requests as this upstream answers in good time are in flight and waiting"),
            Self::QueueTimeout       => row(Local,      503, 14, "connection_limit_reached", Reason::QueueTimeout,   NotSent,   None,            "no slot of this upstream came free in time"),
            Self::PoolFull           => row(Local,      503, 14, "connection_limit_reached", Reason::PoolFull,       NotSent,   None,            "no connection to this upstream came free in time"),
            Self::NoEndpoint         => row(Local,      503, 14, "destination_unavailable",  Reason::NoEndpoint,     NotSent,   None,            "no address is known for this upstream"),
            Self::ConnectFailed      => row(Upstream,   502, 14, "connection_refused",       Reason::ConnectFailed,  NotSent,   Some(Failure),   "the upstream could not be connected to"),
            Self::Tls(reason)        => row(Upstream,   502, 14, reason.proxy_status(),      Reason::Tls(reason),    NotSent,   Some(Failure),   reason.text()),
            Self::ConnectTimeout     => row(Upstream,   504,  4, "connection_timeout",       Reason::ConnectTimeout, NotSent,   Some(Failure),   "the upstream did not accept a connection in time"),
            Self::UpstreamReset      => row(Upstream,   502, 14, "connection_terminated",    Reason::UpstreamReset,  MaybeSent, Some(Failure),   "the upstream broke the connection off before it answered"),
            Self::UpstreamClosed     => row(Upstream,   502, 14, "connection_terminated",    Reason::UpstreamReset,  NotSent,   Some(Failure),   "the upstream broke a new connection off before it took the request"),
            Self::UpstreamRefused    => row(Upstream,   502, 14, "destination_unavailable",  Reason::UpstreamRefused, NotSent,  Some(Ignored),   "the upstream refused the request before it processed any of it"),
            Self::UpgradeUnsupported => row(Upstream,   501, 12, "http_upgrade_failed",      Reason::UpgradeUnsupported, Never, Some(Ignored),  "the upstream takes no upgrades over HTTP/2"),
            Self::BadResponse        => row(Upstream,   502, 14, "http_protocol_error",      Reason::BadResponse,    MaybeSent, Some(Failure),   "the upstream's answer is not valid HTTP"),
            Self::AttemptTimeout     => row(Upstream,   504,  4, "http_response_timeout",    Reason::AttemptTimeout, MaybeSent, Some(Failure),   "the upstream did not answer in time"),
            Self::UpstreamIdle       => row(Upstream,   504,  4, "connection_write_timeout", Reason::UpstreamIdle,   Never,     Some(Failure),   "the upstream stopped reading the request body"),
            Self::TunnelIdle         => row(Upstream,   504,  4, "connection_read_timeout",  Reason::TunnelIdle,     Never,     Some(Ignored),   "nothing passed through the tunnel for too long"),
            Self::Deadline           => row(Upstream,   504,  4, "http_response_timeout",    Reason::Deadline,       Never,     Some(Failure),   "the request's time ran out"),
            Self::ClientDeadline     => row(Downstream, 504,  4, "http_response_timeout",    Reason::Deadline,       Never,     Some(Abandoned), "the time that the caller gave ran out"),
            Self::FaultAbort(status) => row(Upstream, status, 14, "proxy_internal_response",  Reason::FaultInjected,  MaybeSent, Some(Ignored),   "a fault was injected on purpose"),
            Self::FaultReset         => row(Upstream,   502, 14, "connection_terminated",    Reason::FaultInjected,  MaybeSent, Some(Ignored),   "a broken connection was injected on purpose"),
        }
    }

    /// How the attempt ended, as far as another one is concerned.
    pub(super) const fn ended(self) -> Ended {
        match self {
            Self::ConnectFailed
            | Self::Tls(_)
            | Self::ConnectTimeout
            | Self::UpstreamClosed
            | Self::UpstreamRefused => Ended::NotSent,
            Self::UpstreamReset | Self::FaultReset => Ended::Reset,
            Self::AttemptTimeout => Ended::TimedOut,
            Self::FaultAbort(status) => Ended::Status(status),
            _ => Ended::Final,
        }
    }

    /// The error of the limit that ran out; `own` is that of the wait itself.
    pub(super) fn out_of_time(limit: Limit, own: Self) -> Self {
        match limit {
            Limit::Own => own,
            Limit::Deadline => Self::Deadline,
            Limit::ClientDeadline => Self::ClientDeadline,
        }
    }
}

impl From<Rejected> for ProxyError {
    fn from(rejected: Rejected) -> Self {
        Self::BreakerOpen {
            retry_after: rejected.retry_after,
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "they are the columns of the table"
)]
const fn row(
    side: Side,
    status: u16,
    grpc_status: u8,
    proxy_status: &'static str,
    reason: Reason,
    resend: Resend,
    verdict: Option<Verdict>,
    title: &'static str,
) -> Row {
    Row {
        side,
        status,
        grpc_status,
        proxy_status,
        reason,
        resend,
        verdict,
        title,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_indexed_by_their_order() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }

    #[test]
    fn local_rejections_are_never_recorded() {
        for error in ProxyError::all() {
            let row = error.row();
            if row.side == Side::Local {
                assert_eq!(row.verdict, None, "{error:?}");
                assert_eq!(row.resend, Resend::NotSent, "{error:?}");
            }
        }
    }

    /// The table of the manual, as this one has it.
    fn manual() -> String {
        let mut text = String::from(
            "| reason | status | gRPC | `Proxy-Status` error | whose side | resend | breaker | what happened |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for error in ProxyError::all() {
            let row = error.row();
            let resend = match row.resend {
                Resend::NotSent => "safe: not sent",
                Resend::MaybeSent => "if idempotent",
                Resend::Never => "never",
            };
            let breaker = match row.verdict {
                None => "not recorded",
                Some(Verdict::Success) => "success",
                Some(Verdict::Failure) => "failure",
                Some(Verdict::Ignored) => "ignored",
                Some(Verdict::Abandoned) => "slow if it was, else ignored",
            };
            let side = format!("{:?}", row.side).to_lowercase();
            text += &format!(
                "| `{}` | {} | {} | `{}` | {side} | {resend} | {breaker} | {} |\n",
                row.reason.as_str(),
                row.status,
                row.grpc_status,
                row.proxy_status,
                row.title,
            );
        }
        text
    }

    #[test]
    fn the_manual_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/local-replies.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (start, end) = ("<!-- table -->\n", "<!-- end -->");
        let (head, rest) = page.split_once(start).unwrap();
        let (table, tail) = rest.split_once(end).unwrap();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(path, format!("{head}{start}{}{end}{tail}", manual())).unwrap();
        } else {
            assert_eq!(
                table,
                manual(),
                "`BLESS=1 cargo test --lib manual` rewrites the page"
            );
        }
    }
}
