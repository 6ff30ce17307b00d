//! A reader of HTTP/1.1 that takes nothing but what RFC 9112 lets a sender generate.
//!
//! Written for this suite and independent of the proxy's: whatever it does not take for exactly one
//! message with exactly one framing is a failure of the proxy, however harmless it looks.

use std::fmt;

use crate::h2raw;

/// How a body ended up being delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length,
    Chunked,
    Close,
}

/// One message. Bytes are characters of the same number: nothing is lost or repaired.
#[derive(Clone)]
pub(crate) struct Parsed {
    /// The three words of the start line.
    pub(crate) start: [String; 3],
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) framing: Framing,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Parsed {
    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|field| field.0 == name);
        fields.map(|field| field.1.as_str()).collect()
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.body.escape_ascii();
        write!(f, "{} {:?}", self.start.join(" "), self.fields)?;
        write!(f, " {:?} \"{body}\" {:?}", self.framing, self.trailers)
    }
}

/// What the bytes so far are.
#[derive(Debug)]
pub(crate) enum Read {
    /// A whole message, and how many bytes it takes.
    Whole(Box<Parsed>, usize),
    /// The beginning of one: not even its head, or some of its body.
    Part { head: Option<Box<Parsed>> },
}

type Strict<T> = Result<T, String>;

/// Reads a request at the beginning of `bytes`.
pub(crate) fn request(bytes: &[u8]) -> Strict<Read> {
    let Some((start, fields, rest)) = head(bytes)? else {
        return Ok(Read::Part { head: None });
    };
    let [method, target, version] = words(&start)?;
    if !is_token(&method) {
        return Err(format!("method {method:?}"));
    }
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("target {target:?}"));
    }
    if version != "HTTP/1.1" {
        return Err(format!("version {version:?}"));
    }
    let hosts = fields.iter().filter(|field| field.0 == "host").count();
    if hosts != 1 {
        return Err(format!("{hosts} Host fields"));
    }
    let framing = framing(&fields)?.unwrap_or((Framing::None, 0));
    body(
        [method, target, version],
        fields,
        framing,
        (bytes, rest),
        false,
    )
}

/// Reads a request of HTTP/2 as if it had come in HTTP/1, `:authority` as `Host`.
pub(crate) fn framed(message: h2raw::Message) -> Strict<Box<Parsed>> {
    let mut pseudo = [const { None }; 4];
    let mut fields = Vec::new();
    for (name, value) in &message.fields {
        let (name, value) = (h2raw::text(name), h2raw::text(value));
        let names = [":method", ":path", ":authority", ":scheme"];
        if let Some(at) = names.iter().position(|pseudo| *pseudo == name) {
            if !fields.is_empty() || pseudo[at].replace(value).is_some() {
                return Err(format!("{name} twice, or after a field"));
            }
        } else {
            fields.push(framed_field(name, value)?);
        }
    }
    let [Some(method), Some(path), Some(authority), Some(scheme)] = pseudo else {
        return Err(format!("pseudo-fields {pseudo:?}"));
    };
    let is_path = path.starts_with('/') || (path == "*" && method == "OPTIONS");
    if !is_token(&method) || !is_path || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{method:?} of {path:?}"));
    }
    if scheme != "http" || fields.iter().any(|field| field.0 == "host") {
        return Err(format!("scheme {scheme:?}, or Host beside {authority:?}"));
    }
    fields.push(("host".to_owned(), authority));
    let length = framing(&fields)?.map(|(_, length)| length);
    let is_whole = message.end == h2raw::End::Whole;
    if is_whole && length.is_some_and(|length| length != message.data.len()) {
        return Err(format!("{} bytes of {length:?}", message.data.len()));
    }
    let trailers = message.trailers.iter();
    let trailers =
        trailers.map(|(name, value)| framed_field(h2raw::text(name), h2raw::text(value)));
    let parsed = Box::new(Parsed {
        start: [method, path, "HTTP/2".to_owned()],
        fields,
        framing: match length {
            Some(_) => Framing::Length,
            None if message.is_bare => Framing::None,
            None => Framing::Chunked,
        },
        body: message.data,
        trailers: trailers.collect::<Strict<_>>()?,
    });
    trailers_are_harmless(&parsed).map(|()| parsed)
}

/// A field as HTTP/2 takes it (RFC 9113 §8.2).
fn framed_field(name: String, value: String) -> Strict<(String, String)> {
    const NEVER: [&str; 5] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    let is_upper = name.contains(|c: char| c.is_ascii_uppercase());
    if NEVER.contains(&&*name) || is_upper || !is_token(&name) {
        return Err(format!("field name {name:?}"));
    }
    let is_te = name == "te" && value != "trailers";
    let is_odd = value.contains(['\0', '\r', '\n']) || value != value.trim_matches([' ', '\t']);
    if is_te || is_odd {
        return Err(format!("{name} of {value:?}"));
    }
    Ok((name, value))
}

/// Reads a response to `method` at the beginning of `bytes`, which are all there will be.
pub(crate) fn response(bytes: &[u8], method: &str) -> Strict<Read> {
    let Some((start, fields, rest)) = head(bytes)? else {
        return Ok(Read::Part { head: None });
    };
    let [version, status, reason] = words(&start)?;
    // To a caller of HTTP/1.0 it may be that as well.
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        return Err(format!("version {version:?}"));
    }
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("status {status:?}"));
    }
    let declared = framing(&fields)?;
    if version == "HTTP/1.0" && matches!(declared, Some((Framing::Chunked, _))) {
        return Err("chunks in HTTP/1.0".to_owned());
    }
    let bodiless = status.starts_with('1') || status == "204";
    if bodiless && declared.is_some() {
        return Err(format!("{status} with the framing of a body"));
    }
    let framing = if bodiless || status == "304" || method == "HEAD" {
        (Framing::None, 0)
    } else {
        declared.unwrap_or((Framing::Close, 0))
    };
    body(
        [version, status, reason],
        fields,
        framing,
        (bytes, rest),
        true,
    )
}

type Lines<'a> = (String, Fields, &'a [u8]);
type Fields = Vec<(String, String)>;

/// The start line and the fields, and what comes after them.
fn head(bytes: &[u8]) -> Strict<Option<Lines<'_>>> {
    let Some((start, rest)) = line(bytes)? else {
        return Ok(None);
    };
    Ok(section(rest)?.map(|(fields, rest)| (start, fields, rest)))
}

/// Fields up to and with the empty line, and what comes after them.
fn section(mut rest: &[u8]) -> Strict<Option<(Fields, &[u8])>> {
    let mut fields = Vec::new();
    loop {
        match line(rest)? {
            None => return Ok(None),
            Some((empty, rest)) if empty.is_empty() => return Ok(Some((fields, rest))),
            Some((text, after)) => {
                fields.push(field(&text)?);
                rest = after;
            }
        }
    }
}

/// One line without its CRLF, and what comes after it.
fn line(bytes: &[u8]) -> Strict<Option<(String, &[u8])>> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    let text: String = bytes[..end.unwrap_or(bytes.len())]
        .iter()
        .map(|byte| char::from(*byte))
        .collect();
    // A CR at the very end may be half of a CRLF to come.
    let whole = text.strip_suffix('\r').unwrap_or(&text);
    if whole.contains(|c: char| (c.is_control() && c != '\t' && c < '\u{80}') || c == '\u{7f}') {
        return Err(format!("control bytes in {text:?}"));
    }
    Ok(end.map(|end| (text, &bytes[end + 2..])))
}

fn words(start: &str) -> Strict<[String; 3]> {
    let mut words = start.splitn(3, ' ').map(str::to_owned);
    match (words.next(), words.next(), words.next()) {
        (Some(first), Some(second), Some(third)) => Ok([first, second, third]),
        _ => Err(format!("start line {start:?}")),
    }
}

fn field(line: &str) -> Strict<(String, String)> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("field {line:?}"))?;
    if !is_token(name) {
        return Err(format!("field name {name:?}"));
    }
    Ok((
        name.to_ascii_lowercase(),
        value.trim_matches([' ', '\t']).to_owned(),
    ))
}

fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// What the fields say about the body, and how long it is: one thing at most.
fn framing(fields: &[(String, String)]) -> Strict<Option<(Framing, usize)>> {
    let about = |field: &&(String, String)| {
        let name = field.0.replace('_', "-");
        name == "content-length" || name == "transfer-encoding"
    };
    let about: Vec<_> = fields.iter().filter(about).collect();
    match about.as_slice() {
        [] => Ok(None),
        [(name, value)] if name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked") => {
            Ok(Some((Framing::Chunked, 0)))
        }
        [(name, value)] if name == "content-length" => {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let length = value.parse().ok().filter(|_| digits);
            let length = length.ok_or_else(|| format!("content-length {value:?}"))?;
            Ok(Some((Framing::Length, length)))
        }
        _ => Err(format!("framed by {about:?}")),
    }
}

fn body(
    start: [String; 3],
    fields: Fields,
    (framing, length): (Framing, usize),
    (bytes, mut rest): (&[u8], &[u8]),
    is_response: bool,
) -> Strict<Read> {
    let mut parsed = Box::new(Parsed {
        start,
        fields,
        framing,
        body: Vec::new(),
        trailers: Vec::new(),
    });
    let whole = match framing {
        Framing::None => true,
        Framing::Length => {
            let here = length.min(rest.len());
            parsed.body = rest[..here].to_vec();
            rest = &rest[here..];
            here == length
        }
        Framing::Chunked => match chunks(rest, &mut parsed)? {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        },
        Framing::Close if is_response => {
            parsed.body = std::mem::take(&mut rest).to_vec();
            true
        }
        Framing::Close => false,
    };
    Ok(if whole {
        Read::Whole(parsed, bytes.len() - rest.len())
    } else {
        Read::Part { head: Some(parsed) }
    })
}

fn chunks<'a>(mut rest: &'a [u8], parsed: &mut Parsed) -> Strict<Option<&'a [u8]>> {
    loop {
        let Some((size, after)) = line(rest)? else {
            return Ok(None);
        };
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("chunk size {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|_| format!("chunk size {size:?}"))?;
        if size == 0 {
            let Some((trailers, after)) = section(after)? else {
                return Ok(None);
            };
            parsed.trailers = trailers;
            return trailers_are_harmless(parsed).map(|()| Some(after));
        }
        if after.len() < size + 2 {
            parsed
                .body
                .extend_from_slice(&after[..size.min(after.len())]);
            return Ok(None);
        }
        parsed.body.extend_from_slice(&after[..size]);
        if &after[size..size + 2] != b"\r\n" {
            return Err("no CRLF after a chunk".to_owned());
        }
        rest = &after[size + 2..];
    }
}

/// Fields that a recipient may take for those of the head (RFC 9110 §6.5.1).
fn trailers_are_harmless(parsed: &Parsed) -> Strict<()> {
    const NEVER: [&str; 10] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
    ];
    let found = |name: &str| NEVER.contains(&name.replace('_', "-").as_str());
    match parsed.trailers.iter().find(|field| found(&field.0)) {
        Some(field) => Err(format!("trailer {field:?}")),
        None => Ok(()),
    }
}
