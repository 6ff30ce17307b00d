//! Which listener and route a request takes, or why none does.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::config::model::{Config, EndpointAddress, Listener, Route, Upstream};
use crate::net::Address;
use crate::net::target::Target;
use crate::proxy::route::{self, Matcher};

/// A request as it is typed.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its path, without a query.
    pub path: String,
    /// Its fields; `Host` is always among them unless only a path was given.
    pub headers: HeaderMap,
    /// Whether the URL is an `https://` one.
    pub is_secure: bool,
    /// Host (IPv6 in brackets) and port of the URL, if it had any; the port that goes without
    /// saying is `None`.
    pub authority: Option<(String, Option<u16>)>,
    /// The listener asked for.
    pub listener: Option<String>,
}

impl Request {
    /// Reads a request from arguments: `url` is an absolute URL or a path, `headers` are
    /// `name: value`.
    ///
    /// # Errors
    ///
    /// Says which of them cannot be, and what to write instead.
    pub fn new(
        method: &str,
        url: &str,
        headers: &[String],
        listener: Option<String>,
    ) -> Result<Self, String> {
        let invalid = || format!("`{method}` is not a method");
        let parsed: Method = method.parse().map_err(|_| invalid())?;
        if method.chars().any(|c| c.is_ascii_lowercase()) {
            let upper = method.to_ascii_uppercase();
            return Err(format!("methods tell case apart: write `{upper}`"));
        }
        let mut fields = HeaderMap::new();
        for header in headers {
            let (name, value) = field(header)?;
            fields.append(name, value);
        }
        if parsed == Method::CONNECT {
            return Self::tunnel(url, fields, listener);
        }
        let absolute = !url.starts_with('/');
        let uri: Uri = url.parse().map_err(|_| bad_url(url))?;
        let is_secure = uri.scheme_str() == Some("https");
        let authority = match (absolute, uri.scheme_str(), uri.host()) {
            (false, _, _) => None,
            (true, Some("http" | "https"), Some(host)) if !host.is_empty() => {
                Some((host.to_owned(), uri.port_u16()))
            }
            _ => return Err(bad_url(url)),
        };
        if let Some((host, port)) = &authority
            && !fields.contains_key(HOST)
        {
            let value = match port {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            };
            fields.insert(HOST, value.parse().map_err(|_| bad_url(url))?);
        }
        Ok(Self {
            method: parsed,
            path: uri.path().to_owned(),
            headers: fields,
            is_secure,
            authority,
            listener,
        })
    }

    /// A request for a tunnel: `text` is a host and a port.
    fn tunnel(
        text: &str,
        mut headers: HeaderMap,
        listener: Option<String>,
    ) -> Result<Self, String> {
        let bad = |why: &str| format!("`{text}` is no `host:port`, which CONNECT takes: {why}");
        let target = Target::parse(text, None).map_err(|why| bad(why.as_str()))?;
        let host = target.to_string();
        headers.insert(HOST, host.parse().map_err(|_| bad("no legal `Host`"))?);
        Ok(Self {
            method: Method::CONNECT,
            path: host,
            headers,
            is_secure: false,
            authority: Some((target.host.to_string(), Some(target.port))),
            listener,
        })
    }

    /// The target that it names to a forward proxy, if it names one.
    pub fn target(&self) -> Option<Target> {
        let (host, port) = self.authority.as_ref().filter(|_| !self.is_secure)?;
        let port = port.unwrap_or(80);
        Target::parse(&format!("{host}:{port}"), None).ok()
    }

    /// The host that routes match.
    pub fn host(&self) -> &str {
        // Callers send the path alone: the host stands in the field.
        route::host_field(&self.headers)
    }
}

fn bad_url(url: &str) -> String {
    format!("`{url}` is neither an `http://` or `https://` URL nor a path")
}

fn field(header: &str) -> Result<(HeaderName, HeaderValue), String> {
    let bad = || format!("`{header}` is not a field: write `name: value`");
    let (name, value) = header.split_once(':').ok_or_else(bad)?;
    let name = name.trim().parse().map_err(|_| bad())?;
    let value = value.trim().parse().map_err(|_| bad())?;
    Ok((name, value))
}

/// Why a request takes no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The question is incomplete: what to add.
    Unclear(String),
    /// No listener takes it, with what comes nearest.
    NoListener {
        /// What was looked for.
        what: String,
        /// What there is.
        nearest: Vec<String>,
    },
    /// Listeners take it, but no route of theirs does.
    NoRoute(Vec<Miss>),
}

/// A route that does not match, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// The name of its listener.
    pub listener: String,
    /// Its name.
    pub route: String,
    /// What of the request it does not match; at least one.
    pub because: Vec<String>,
}

/// All listeners and routes that take `request`: one for each listener that could.
///
/// # Errors
///
/// Says why there is none, nearest first.
pub fn find<'a>(
    config: &'a Config,
    request: &Request,
) -> Result<Vec<(&'a Listener, &'a Route)>, Lost> {
    let candidates = candidates(config, request)?;
    let found: Vec<_> = candidates
        .iter()
        .filter_map(|listener| {
            let mut routes = listener.routes.iter();
            let route = routes.find(|route| misses(config, route, request).is_empty())?;
            Some((*listener, route))
        })
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let routes = candidates
        .iter()
        .flat_map(|listener| listener.routes.iter().map(move |route| (*listener, route)));
    let mut missed: Vec<_> = routes
        .map(|(listener, route)| Miss {
            listener: listener.name.to_string(),
            route: route.name.to_string(),
            because: misses(config, route, request),
        })
        .collect();
    missed.sort_by_key(|miss| miss.because.len());
    Err(Lost::NoRoute(missed))
}

/// What of `request` does not match.
fn misses(config: &Config, route: &Route, request: &Request) -> Vec<String> {
    let matcher = Matcher::new(route);
    let mut because = Vec::new();
    if !matcher.fits_host(request.host()) {
        let wanted = route.host.as_deref().unwrap_or_default();
        because.push(match request.host() {
            "" => format!("there is no host to match `{wanted}`: add `--header 'host: ...'`"),
            host => format!("host `{host}` is not `{wanted}`"),
        });
    }
    if !matcher.fits_path(&request.path) {
        let prefix = route.path_prefix.as_deref().unwrap_or_default();
        because.push(format!("path `{}` is not below `{prefix}`", request.path));
    }
    if !matcher.fits_method(&request.method) {
        let methods = route.methods.join(", ");
        because.push(format!("method {} is not one of {methods}", request.method));
    }
    if request.method == Method::CONNECT && !forwards(config, route) {
        because.push("CONNECT is served by an upstream with `forward` alone".to_owned());
    }
    because
}

/// Whether callers name the host on this route.
fn forwards(config: &Config, route: &Route) -> bool {
    let upstream = config.upstreams.get(route.upstream);
    upstream.is_some_and(|upstream| upstream.forward.is_some())
}

/// The listeners that the URL can mean.
fn candidates<'a>(config: &'a Config, request: &Request) -> Result<Vec<&'a Listener>, Lost> {
    let all = || config.listeners.iter();
    let names = || {
        let names: Vec<_> = all().map(|listener| &*listener.name).collect();
        names.join(", ")
    };
    if let Some(name) = &request.listener {
        let named: Vec<_> = all().filter(|listener| *listener.name == **name).collect();
        if named.is_empty() {
            let names = names();
            let problem = format!("no listener is called `{name}`; there are: {names}");
            return Err(Lost::Unclear(problem));
        }
        return Ok(named);
    }
    let Some((host, port)) = &request.authority else {
        return match config.listeners.as_slice() {
            [only] => Ok(vec![only]),
            _ => Err(Lost::Unclear(format!(
                "a path alone does not say which listener: add `--listener NAME`, one of {}",
                names()
            ))),
        };
    };
    let port = port.unwrap_or(if request.is_secure { 443 } else { 80 });
    let here: Vec<_> = all()
        .filter(|listener| takes(listener, host, port))
        .collect();
    // The name of an endpoint does not lead here, though the port may be the same.
    let is_elsewhere = address(host).is_none() && !endpoints_at(config, host, port).is_empty();
    if !here.is_empty() && !is_elsewhere {
        return as_asked(here, request);
    }
    // A name may stand for a route's host rather than for an address, or for a target.
    let hosts = |route: &Route| route.host.is_some() && Matcher::new(route).fits_host(host);
    let leads = |route: &Route| hosts(route) || (!request.is_secure && forwards(config, route));
    let named: Vec<_> = all()
        .filter(|listener| listener.routes.iter().any(leads))
        .collect();
    let mut routes = all().flat_map(|listener| &listener.routes);
    if named.is_empty() && request.is_secure && routes.any(|route| forwards(config, route)) {
        let way = format!("clients ask a forward proxy for it by `CONNECT {host}:{port}`");
        return Err(Lost::Unclear(format!("`https://{host}`: {way}")));
    }
    if named.is_empty() {
        return Err(no_listener(config, host, port));
    }
    Ok(named)
}

/// Those of the listeners that speak TLS if the URL does, and that do not if it does not.
fn as_asked<'a>(
    mut listeners: Vec<&'a Listener>,
    request: &Request,
) -> Result<Vec<&'a Listener>, Lost> {
    listeners.retain(|listener| listener.tls.is_some() == request.is_secure);
    if listeners.is_empty() {
        let problem = if request.is_secure {
            "the listener there does not speak TLS: write `http://`"
        } else {
            "the listener there speaks TLS: write `https://`"
        };
        return Err(Lost::Unclear(problem.to_owned()));
    }
    Ok(listeners)
}

/// Whether a connection to `host` and `port` arrives here.
fn takes(listener: &Listener, host: &str, port: u16) -> bool {
    let Some(bound) = listener.address.ip() else {
        return false;
    };
    let ip = bound.ip();
    bound.port() == port
        && match address(host) {
            Some(asked) => asked == ip || ip.is_unspecified(),
            None if host.eq_ignore_ascii_case("localhost") => {
                ip.is_loopback() || ip.is_unspecified()
            }
            // Whatever the name resolves to, the port fits.
            None => true,
        }
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

fn no_listener(config: &Config, host: &str, port: u16) -> Lost {
    let mut nearest: Vec<_> = config.listeners.iter().collect();
    nearest.sort_by_key(|listener| {
        let bound = listener.address.port();
        bound.map_or(u16::MAX, |bound| bound.abs_diff(port))
    });
    let upstreams = endpoints_at(config, host, port);
    let leads_to = |listener: &&Listener| {
        let mut routes = listener.routes.iter();
        routes.any(|route| upstreams.contains(&route.upstream))
    };
    // Whoever types the upstream's own address wants to know how its callers reach it.
    let direct: Vec<_> = nearest.iter().copied().filter(leads_to).collect();
    let what = if direct.is_empty() {
        format!("no listener is at {host}:{port}, and no route names the host `{host}`")
    } else {
        format!("{host}:{port} is an endpoint: callers reach it through a listener")
    };
    let shown = if direct.is_empty() { nearest } else { direct };
    Lost::NoListener {
        what,
        nearest: shown
            .iter()
            .map(|listener| match listener.address {
                Address::Ip(address) => {
                    let scheme = if listener.tls.is_some() {
                        "https"
                    } else {
                        "http"
                    };
                    format!("{} at {scheme}://{address}", listener.name)
                }
                Address::Unix(_) => format!("{} at {}", listener.name, listener.address),
            })
            .collect(),
    }
}

/// Indices of the upstreams that have this endpoint.
fn endpoints_at(config: &Config, host: &str, port: u16) -> Vec<usize> {
    let upstreams = config.upstreams.iter().enumerate();
    let has = |upstream: &Upstream| {
        let mut endpoints = upstream.endpoints.iter();
        endpoints.any(|endpoint| match &endpoint.address {
            EndpointAddress::Name { host: h, port: p } => h == host && *p == port,
            EndpointAddress::Unix(_) => false,
        })
    };
    upstreams
        .filter(|(_, upstream)| has(upstream))
        .map(|(index, _)| index)
        .collect()
}
