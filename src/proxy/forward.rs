//! A request whose caller names the host: which target that is, and the route to it.
//!
//! Protects callers and targets from a name that is read in two ways: one form of the request names
//! the target, strictly read, and `Host` is written anew from it. The targets themselves, and who
//! may name which, are [`crate::upstream::forward`].

use std::pin::pin;
use std::sync::Arc;

use http::header::PROXY_AUTHORIZATION;
use http::{Method, Request};

use super::Caller;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::handle::not_over;
use super::route::{Destination, Route, Targets};
use crate::net::target::Target;
use crate::pool::Upload;
use crate::resilience::timeout::Deadline;
use crate::time;
use crate::upstream::forward::Denied;
use crate::upstream::resolve::Outlook;

impl Caller {
    /// The route to the target that a request names: it takes the place of the one that was found.
    /// A target that nobody has asked for yet is looked up first.
    pub(super) async fn target(
        &self,
        targets: &Targets,
        request: &mut Request<Upload>,
        deadline: &Deadline,
        exchange: &mut Exchange,
    ) -> Result<Arc<Route>, ProxyError> {
        let target = named(request).map_err(ProxyError::BadRequest)?;
        // It is meant for us (RFC 9110 §11.7.2), and we ask for none.
        request.headers_mut().remove(PROXY_AUTHORIZATION);
        let found = targets.table.find(&target, exchange.now)?;
        let route = found.ways.get(targets.index).map(Arc::clone);
        let route = route.ok_or(ProxyError::NoRoute)?;
        exchange.route = Some(Arc::clone(&route));
        exchange.target = Some(Arc::clone(&found));
        let outlook = match found.outlook() {
            Outlook::Pending => self.looked_up(&found, &route, deadline, exchange).await?,
            outlook => outlook,
        };
        match outlook {
            Outlook::Refused(_) => Err(ProxyError::AddressRefused),
            Outlook::Pending | Outlook::Tried => Ok(route),
        }
    }

    /// Waits until a new target was looked up: that is part of connecting to it.
    async fn looked_up(
        &self,
        found: &Destination,
        route: &Route,
        deadline: &Deadline,
        exchange: &mut Exchange,
    ) -> Result<Outlook, ProxyError> {
        let since = exchange.now;
        let own = route.timeouts.connect;
        let due = deadline.bound(own.and_then(|connect| since.checked_add(connect)));
        let looked_up = pin!(found.looked_up());
        let expiry = |now| not_over(due, now, ProxyError::ConnectTimeout);
        let outlook = self.watch.alarm.race(since, looked_up, expiry).await;
        exchange.now = time::now();
        outlook
    }
}

/// The target that a request names, or the rule that it breaks.
fn named<B>(request: &Request<B>) -> Result<Target, &'static str> {
    let uri = request.uri();
    let Some(authority) = uri.authority() else {
        return Err(
            "this is a forward proxy: ask for `http://host/path`, or for `host:port` by CONNECT",
        );
    };
    let default_port = match uri.scheme_str() {
        None => None,
        Some("http") => Some(80),
        Some("https") if request.method() != Method::CONNECT => {
            return Err("an https:// target: ask for `host:port` by CONNECT, and encrypt to there");
        }
        Some(_) => return Err("a target of another scheme than http://"),
    };
    Target::parse(authority.as_str(), default_port).map_err(|bad| bad.as_str())
}

impl From<Denied> for ProxyError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Target => Self::TargetRefused,
            Denied::Address(_) => Self::AddressRefused,
            Denied::TooMany => Self::TooManyTargets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_named_in_one_way_for_each_method() {
        let named = |method: &str, uri: &str| {
            let request = Request::builder().method(method).uri(uri);
            let target = named(&request.body(()).unwrap());
            target.map(|target| target.to_string()).ok()
        };
        for (method, uri, expected) in [
            ("GET", "http://A.test/x?y", Some("a.test:80")),
            ("GET", "http://a.test.:8080", Some("a.test:8080")),
            ("GET", "http://[::1]:80/", Some("[::1]:80")),
            ("GET", "http://0x7f.1/", None),
            ("GET", "https://a.test/", None),
            ("GET", "ftp://a.test/", None),
            ("GET", "/x", None),
            ("OPTIONS", "*", None),
            ("CONNECT", "a.test:443", Some("a.test:443")),
            ("CONNECT", "a.test", None),
            ("CONNECT", "a.test:0", None),
        ] {
            assert_eq!(named(method, uri).as_deref(), expected, "{method} {uri}");
        }
    }
}
