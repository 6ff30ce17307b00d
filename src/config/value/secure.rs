//! What TLS takes: files, names to check, pins.

use std::net::IpAddr;

use super::{Invalid, host_pattern};
use crate::config::diagnostic::Id;
use crate::config::section::Setting;
use crate::tls;

/// Reads the path of a file; nobody looks yet whether it is there.
pub(in crate::config) fn file(text: &str) -> Result<Setting, Invalid> {
    if text.is_empty() || text.contains('\0') || text.ends_with('/') {
        return Err(Invalid::new(
            Id::BadFile,
            "not the path of a file",
            "write a path such as `\"/etc/outrigger/ca.pem\"`",
        ));
    }
    if text.contains("-----BEGIN") {
        return Err(Invalid::new(
            Id::BadFile,
            "this is the content of a file, not its path",
            "put it in a file, and write its path such as `\"/etc/outrigger/ca.pem\"`",
        ));
    }
    Ok(Setting::Text(text.to_owned()))
}

/// Reads the name that a certificate must bear; IPv6 without brackets from here on.
pub(in crate::config) fn server_name(text: &str) -> Result<Setting, Invalid> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(Setting::Text(text.to_owned()));
    }
    match host_pattern(text) {
        Ok(Setting::Text(name)) if !name.starts_with(['*', '[']) => Ok(Setting::Text(name)),
        _ => Err(Invalid::new(
            Id::BadHost,
            "not a name that a certificate bears",
            "write a host name such as `\"payments.internal\"`, or an IP address",
        )),
    }
}

/// Reads `"sha256/BASE64"`, the SHA-256 of a public key.
pub(in crate::config) fn pin(text: &str) -> Result<Setting, Invalid> {
    tls::pin::parse(text).map(Setting::Pin).map_err(|_| {
        Invalid::new(
            Id::BadPin,
            "not the pin of a public key",
            "write `\"sha256/\"` and the SHA-256 of the key in base64, which has 44 characters",
        )
    })
}
