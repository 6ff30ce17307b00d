//! What load generator and backend share: an epoll loop over numbered sockets.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Events taken from the kernel at once.
const BATCH: usize = 512;

/// Waits for many sockets at once, each known by a number.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// What a socket is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The number of the socket.
    pub token: usize,
    /// It can be read, or has failed or ended, which a read tells.
    pub readable: bool,
    /// It can be written, or is connected.
    pub writable: bool,
}

impl Poller {
    /// Makes one that watches nothing. Timeouts of this thread are exact from here on.
    ///
    /// # Errors
    ///
    /// Fails where the system is out of descriptors.
    pub fn new() -> io::Result<Self> {
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(BATCH),
        })
    }

    /// Begins to watch `socket`; closing it ends that.
    ///
    /// # Errors
    ///
    /// As `epoll_ctl`.
    pub fn add(&self, socket: impl AsFd, token: usize, writable: bool) -> io::Result<()> {
        let data = EventData::new_u64(token as u64);
        Ok(epoll::add(&self.epoll, socket, data, flags(writable))?)
    }

    /// Changes whether room to write is of interest; what can be read always is.
    ///
    /// # Errors
    ///
    /// As `epoll_ctl`.
    pub fn modify(&self, socket: impl AsFd, token: usize, writable: bool) -> io::Result<()> {
        let data = EventData::new_u64(token as u64);
        Ok(epoll::modify(&self.epoll, socket, data, flags(writable))?)
    }

    /// Waits for an event, at most so long; `ready` gets what came.
    ///
    /// # Errors
    ///
    /// As `epoll_wait`; being interrupted by a signal is none.
    pub fn wait(&mut self, longest: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let longest = longest.and_then(|longest| Timespec::try_from(longest).ok());
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, longest.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready {
                token: data.u64() as usize,
                readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                writable: flags.contains(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

fn flags(writable: bool) -> EventFlags {
    if writable {
        EventFlags::IN | EventFlags::OUT
    } else {
        EventFlags::IN
    }
}

/// Where the head of a message ends: after its empty line.
pub fn head_end(buffer: &[u8]) -> Option<usize> {
    memchr::memmem::find(buffer, b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a field in a head, without the spaces around it.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (key, value) = line.split_at(colon);
        let value = value.get(1..)?;
        key.eq_ignore_ascii_case(name.as_bytes())
            .then(|| value.trim_ascii())
    })
}

/// A field that is a number; 0 where it is not there.
pub fn number(head: &[u8], name: &str) -> usize {
    field(head, name)
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or_default()
}

/// Whether the other side said that it will close.
pub fn closes(head: &[u8]) -> bool {
    field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
}
