//! A DNS server on UDP that answers every question for A records as the test last told it.
//!
//! Questions for other records get an empty answer, so that only those for A are counted.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use super::PATIENCE;

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses, with this TTL in seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// The name exists and has no address.
    Empty,
    /// The name does not exist.
    NotFound,
    /// The server cannot tell.
    Failure,
    /// No answer at all.
    Silence,
}

/// Response codes of RFC 1035, section 4.1.1.
const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

const TYPE_A: [u8; 2] = [0, 1];

struct Shared {
    state: Mutex<(Answer, usize)>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// The server; dropping it silences it.
pub(crate) struct Dns {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Dns {
    /// Starts a server that gives this answer.
    pub(crate) fn start(answer: Answer) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let shared = Arc::new(Shared {
            state: Mutex::new((answer, 0)),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || serve(&socket, &own));
        Self { address, shared }
    }

    /// As an entry of `servers`.
    pub(crate) fn server(&self) -> String {
        self.address.to_string()
    }

    /// Gives this answer from now on.
    pub(crate) fn answer(&self, answer: Answer) {
        self.change(|state| state.0 = answer);
    }

    /// Questions for addresses so far.
    pub(crate) fn asked(&self) -> usize {
        self.change(|state| state.1)
    }

    /// Waits until `count` questions for addresses have come.
    pub(crate) fn wait_asked(&self, count: usize) {
        let state = self.shared.state.lock();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        let few = |state: &mut (Answer, usize)| state.1 < count;
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, PATIENCE, few)
            .unwrap_or_else(PoisonError::into_inner);
        let asked = waited.0.1;
        assert!(asked >= count, "asked {asked} times, not {count}");
    }

    /// Waits for as many more questions.
    pub(crate) fn wait_asked_again(&self, more: usize) {
        self.wait_asked(self.asked() + more);
    }

    fn change<T>(&self, change: impl FnOnce(&mut (Answer, usize)) -> T) -> T {
        let state = self.shared.state.lock();
        change(&mut state.unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Ok(socket) = UdpSocket::bind("127.0.0.1:0") {
            drop(socket.send_to(&[], self.address));
        }
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 1024];
    while let Ok((length, caller)) = socket.recv_from(&mut buffer) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Some(question) = question(&buffer[..length]) else {
            continue;
        };
        let for_address = question.ends_with(&[TYPE_A[0], TYPE_A[1], 0, 1]);
        let answer = {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 += usize::from(for_address);
            state.0.clone()
        };
        shared.changed.notify_all();
        let id = [buffer[0], buffer[1]];
        if let Some(reply) = encode(id, question, for_address, &answer) {
            drop(socket.send_to(&reply, caller));
        }
    }
}

/// The one question of a query: name, type and class, as they stand behind the 12 bytes of header.
fn question(query: &[u8]) -> Option<&[u8]> {
    let behind = query.get(12..)?;
    let mut end = 0;
    loop {
        match *behind.get(end)? {
            0 => return behind.get(..end + 5),
            label => end += usize::from(label) + 1,
        }
    }
}

fn encode(id: [u8; 2], question: &[u8], for_address: bool, answer: &Answer) -> Option<Vec<u8>> {
    let (code, addresses, ttl) = match answer {
        Answer::Silence => return None,
        Answer::Failure => (SERVFAIL, &[][..], 0),
        Answer::NotFound => (NXDOMAIN, &[][..], 0),
        Answer::Addresses(addresses, ttl) if for_address => (NO_ERROR, &addresses[..], *ttl),
        Answer::Addresses(..) | Answer::Empty => (NO_ERROR, &[][..], 0),
    };
    let count = u8::try_from(addresses.len()).expect("few addresses");
    // A response, recursion desired and available; one question, `count` answers.
    let mut reply = vec![id[0], id[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
    reply.extend_from_slice(question);
    for address in addresses {
        // The name as in the question, at byte 12; type A, class IN.
        reply.extend_from_slice(&[0xc0, 12, TYPE_A[0], TYPE_A[1], 0, 1]);
        reply.extend_from_slice(&ttl.to_be_bytes());
        reply.extend_from_slice(&[0, 4]);
        reply.extend_from_slice(&address.octets());
    }
    Some(reply)
}
