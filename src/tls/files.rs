//! Certificates, keys and roots: read from files, and read again when these change.
//!
//! Files are looked at by content, not by time or inode: an edit, a rename over the old one and a
//! swapped symlink (a Kubernetes Secret) are all the same. What does not fit together stays out and
//! what was in use stays in use; every look tries again, so a pair that is replaced one file after
//! the other is taken up once both are there. Reading blocks: off the request path only.

use std::fmt;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::sync::{Mutex, lock};

/// Bytes that a file may have. The roots of a system are a quarter of a megabyte.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It does not exist.
    NotFound,
    /// The system does not let us read it.
    Unreadable(String),
    /// It is larger than any certificate file.
    TooLarge,
    /// It holds no certificate.
    NoCertificate,
    /// A certificate in it is malformed or of a kind that is not supported.
    BadCertificate(String),
    /// It holds no private key.
    NoKey,
    /// Its private key is encrypted.
    EncryptedKey,
    /// Its private key is malformed or of a kind that is not supported.
    BadKey(String),
    /// Its private key is not that of the certificate in this file.
    KeyMismatch(PathBuf),
    /// Its certificate has expired, at this time.
    Expired(String),
    /// Its certificate is valid only from this time on.
    NotYetValid(String),
    /// The library refuses what was made of it.
    Refused(String),
}

impl Problem {
    pub(super) fn of(self, file: &Path) -> LoadError {
        LoadError {
            file: file.to_owned(),
            problem: self,
        }
    }

    /// Returns how to put it right.
    pub fn help(&self) -> &'static str {
        match self {
            Self::NotFound => "check the path, and that the volume is mounted",
            Self::Unreadable(_) => "let the user that runs this process read it",
            Self::TooLarge => "name the PEM file, not an archive",
            Self::NoCertificate => "give PEM with `-----BEGIN CERTIFICATE-----`",
            Self::BadCertificate(_) => "give X.509 version 3 certificates, unchanged from their CA",
            Self::NoKey => "give PEM with `-----BEGIN PRIVATE KEY-----`",
            Self::EncryptedKey => "decrypt it: `openssl pkey -in KEY -out PLAIN`",
            Self::BadKey(_) => "give an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key",
            Self::KeyMismatch(_) => {
                "give the key of that certificate, which stands first in its file"
            }
            Self::Expired(_) => "renew the certificate",
            Self::NotYetValid(_) => "check the clock of this host",
            Self::Refused(_) => "give another one",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::TooLarge => write!(f, "larger than {} MiB", MAX_BYTES / 1024 / 1024),
            Self::NoCertificate => f.write_str("no certificate in it"),
            Self::BadCertificate(error) => write!(f, "a certificate in it is unusable: {error}"),
            Self::NoKey => f.write_str("no private key in it"),
            Self::EncryptedKey => f.write_str("its private key is encrypted"),
            Self::BadKey(error) => write!(f, "its private key is unusable: {error}"),
            Self::KeyMismatch(cert) => write!(
                f,
                "its private key is not that of the certificate in `{}`",
                cert.display()
            ),
            Self::Expired(at) => write!(f, "its certificate has expired on {at}"),
            Self::NotYetValid(at) => write!(f, "its certificate is valid only from {at} on"),
            Self::Refused(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, problem) = (self.file.display(), &self.problem);
        write!(f, "`{file}`: {problem} ({})", problem.help())
    }
}

impl std::error::Error for LoadError {}

/// What a look at the files came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing new: the same files, or the same error as the last look.
    Unchanged,
    /// New files are in use, for connections from now on.
    Changed {
        /// End of our certificate, since the Unix epoch; `None`: there is none.
        not_after: Option<Duration>,
    },
    /// The files have changed and cannot be used; those before them stay in use. Told once for
    /// each error.
    Kept(LoadError),
}

/// The contents of some files at one time.
pub(super) struct Contents(Vec<(PathBuf, Result<Vec<u8>, Problem>)>);

impl Contents {
    fn read(paths: &[PathBuf]) -> Self {
        let read = |path: &PathBuf| (path.clone(), read(path));
        Self(paths.iter().map(read).collect())
    }

    /// Returns what `path`, one of those that were read, holds.
    pub(super) fn get(&self, path: &Path) -> Result<&[u8], LoadError> {
        let found = self.0.iter().find(|(read, _)| read == path);
        match found.map(|(_, content)| content) {
            Some(Ok(content)) => Ok(content),
            Some(Err(problem)) => Err(problem.clone().of(path)),
            None => Err(Problem::NotFound.of(path)),
        }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (_, content) in &self.0 {
            // An error has no content, and is never what is in use.
            content.as_ref().ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Problem::NotFound,
        _ => Problem::Unreadable(error.to_string()),
    };
    let mut content = Vec::new();
    // To open a pipe waits for whoever writes to it, and with us waits the thread that accepts.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Problem::Unreadable("not a regular file".to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut content);
    if read.map_err(failed)? as u64 > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(content)
}

/// What was made of files.
pub(super) struct Made<T> {
    pub(super) config: Arc<T>,
    /// End of our certificate, since the Unix epoch.
    pub(super) not_after: Option<Duration>,
}

/// Something made of files, and made anew when they change.
pub(super) struct Live<T> {
    paths: Vec<PathBuf>,
    made: ArcSwap<Made<T>>,
    watch: Mutex<Watch>,
}

struct Watch {
    /// Hash of the contents in use.
    used: u64,
    /// Why the contents last seen are not.
    refused: Option<LoadError>,
}

impl<T> Live<T> {
    /// Reads `paths` and makes the first one of them.
    pub(super) fn new(
        paths: Vec<PathBuf>,
        make: impl FnOnce(&Contents) -> Result<Made<T>, LoadError>,
    ) -> Result<Self, LoadError> {
        let contents = Contents::read(&paths);
        Ok(Self {
            made: ArcSwap::from_pointee(make(&contents)?),
            watch: Mutex::new(Watch {
                used: contents.hash(),
                refused: None,
            }),
            paths,
        })
    }

    /// Looks at the files; `make` is called if they are not those in use.
    pub(super) fn reload(
        &self,
        make: impl FnOnce(&Contents) -> Result<Made<T>, LoadError>,
    ) -> Outcome {
        let contents = Contents::read(&self.paths);
        let hash = contents.hash();
        let mut watch = lock(&self.watch);
        if hash == watch.used {
            watch.refused = None;
            return Outcome::Unchanged;
        }
        match make(&contents) {
            Ok(made) => {
                let not_after = made.not_after;
                self.made.store(Arc::new(made));
                *watch = Watch {
                    used: hash,
                    refused: None,
                };
                Outcome::Changed { not_after }
            }
            Err(error) => {
                let before = watch.refused.replace(error.clone());
                if before.as_ref() == Some(&error) {
                    return Outcome::Unchanged;
                }
                Outcome::Kept(error)
            }
        }
    }

    pub(super) fn config(&self) -> Arc<T> {
        Arc::clone(&self.made.load().config)
    }

    pub(super) fn not_after(&self) -> Option<Duration> {
        self.made.load().not_after
    }

    pub(super) fn refused(&self) -> Option<LoadError> {
        lock(&self.watch).refused.clone()
    }
}
