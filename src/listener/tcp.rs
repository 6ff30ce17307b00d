//! One connection of a caller that is carried as it is.

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;
use crate::pool::Upload;
use crate::proxy::Caller;
use crate::time;

/// Connects a caller with the listener's upstream, past the policies that a request passes, and
/// carries their bytes. Where that is refused, the connection is closed without a word: there is
/// no protocol to say it in.
///
/// # Cancel safety
///
/// Dropping the future closes both connections.
pub(super) async fn serve<S>(caller: Caller, wire: Wire<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let caller = Rc::new(caller);
    let alarm = caller.watch.alarm.clone();
    let mut request = Request::new(Upload::empty());
    *request.method_mut() = Method::CONNECT;
    let socket = caller.ends.socket();
    let carried = pin!(async {
        let left = async move {
            match socket {
                Some(socket) => socket.left().await,
                None => pending().await,
            }
        };
        let answered = tokio::select! {
            biased;
            answered = caller.handle(request) => answered,
            // Nobody waits for a connection any more.
            () = left => return,
        };
        let Ok(mut response) = answered;
        if let Some(tunnel) = response.body_mut().take_tunnel() {
            tunnel.run(wire, None, &alarm).await;
        }
    });
    time::drive(&alarm, carried, |_| false).await;
}
