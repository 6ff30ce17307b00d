use std::cell::Cell;
use std::rc::Rc;

use tokio::io::duplex;

use super::*;

const MOST: (Duration, usize) = (FAREWELL, 10_000);

/// A caller that never stops sending, and of which this much was read.
struct Endless(Rc<Cell<usize>>);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        buf.initialize_unfilled();
        buf.advance(room);
        self.0.set(self.0.get() + room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_floods_is_read_so_far_and_no_further() {
    let read = Rc::new(Cell::new(0));
    let mut wire = Wire::plain(Endless(Rc::clone(&read)));
    let began = time::now();
    wire.close(&Alarm::new(began), MOST).await;
    assert!((10_000..19_000).contains(&read.get()), "{}", read.get());
    assert_eq!(time::now(), began);
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_is_waited_for_so_long_and_no_longer() {
    let (ours, _theirs) = duplex(64);
    let began = time::now();
    Wire::plain(ours).close(&Alarm::new(began), MOST).await;
    let took = time::now() - began;
    assert!((FAREWELL..FAREWELL * 2).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_goes_is_read_to_its_end() {
    let (ours, mut theirs) = duplex(64);
    let began = time::now();
    let caller = async move {
        assert_eq!(
            theirs.read(&mut [0]).await.ok(),
            Some(0),
            "the end was told"
        );
        theirs.write_all(&[0; 5000]).await.is_ok()
    };
    let mut wire = Wire::plain(ours);
    let alarm = Alarm::new(began);
    let (_, heard) = tokio::join!(wire.close(&alarm, MOST), caller);
    assert!(heard);
    assert_eq!(time::now(), began);
}
