//! Streams that become tunnels.

use h2::Reason;
use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Bench, Script, download, read, request, settings, settle, simulate};
use crate::config::model::Protocol;
use crate::pool::{Connection, SendError, Spoken, Upload};
use crate::time;

fn upgrade() -> Request<Upload> {
    let mut request = request(Upload::empty());
    let headers = request.headers_mut();
    headers.insert(UPGRADE, "websocket".parse().unwrap());
    request
}

/// Asks for a tunnel; has the status.
async fn ask(connection: &mut Connection) -> Result<StatusCode, SendError> {
    connection.may_upgrade();
    let response = connection.send(upgrade()).await?;
    Ok(response.status())
}

#[test]
fn what_passes_through_a_tunnel_earns_its_acknowledgements() {
    simulate(async {
        let mut script = Script::new(|request, mut respond| async move {
            assert_eq!(request.method(), Method::CONNECT);
            let mut sent = respond.send_response(Response::new(()), false).unwrap();
            let (bytes, _) = read(request.into_body()).await.unwrap();
            sent.send_data(bytes.len().to_string().into(), true)
                .unwrap();
        });
        script.extended = true;
        // Every few bytes make it say that it takes more: far more often than is let through at once.
        script.window = 16;
        let bench = Bench::new(settings(1), script);
        let mut connection = bench.get().await.unwrap();
        assert_eq!(ask(&mut connection).await.unwrap(), 101);
        let mut raw = connection.into_raw().await.unwrap();
        raw.write_all(&[b'x'; 100_000]).await.unwrap();
        raw.shutdown().await.unwrap();
        let mut said = String::new();
        raw.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "100000");
        drop(raw);
        settle().await;
        assert!(bench.told.floods.lock().unwrap().is_empty());
        bench.check(1);
    });
}

#[test]
fn an_upstream_without_tunnels_is_asked_for_none() {
    simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(Default::default()));
        let mut connection = bench.get().await.unwrap();
        let asked = ask(&mut connection).await;
        assert!(matches!(asked, Err(SendError::Unsupported)));
        assert_eq!(bench.upstream.requests(), 0);
        drop(connection);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn an_upgrade_that_is_not_processed_comes_back() {
    simulate(async {
        let mut script = Script::new(|_, mut respond| async move {
            respond.send_reset(Reason::REFUSED_STREAM);
        });
        script.extended = true;
        let bench = Bench::new(settings(1), script);
        let mut connection = bench.get().await.unwrap();
        let Err(SendError::Refused(Some(back))) = ask(&mut connection).await else {
            panic!("not refused")
        };
        assert_eq!(back.headers()[UPGRADE], "websocket");
        // A farewell overtakes the next.
        let mut next = bench.get().await.unwrap();
        bench.upstream.goaway.notify_one();
        settle().await;
        assert!(matches!(ask(&mut next).await, Err(SendError::Unsent(_))));
    });
}

#[test]
fn a_connection_that_became_no_tunnel_ends_like_any_other() {
    simulate(async {
        let mut script = Script::ok_after(Default::default());
        script.spoken = Spoken::Http1;
        script.says = Some("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        let mut settings = settings(1);
        settings.protocol = Protocol::Http1;
        let bench = Bench::new(settings, script);
        let mut connection = bench.get().await.unwrap();
        connection.may_upgrade();
        let response = connection.send(upgrade()).await.unwrap();
        assert_eq!(response.status(), 403);
        download(response.into_body()).await.unwrap();
        connection.checkin(time::now());
        settle().await;
        bench.check(1);
        bench.upstream.goaway.notify_one();
        settle().await;
        assert_eq!(bench.upstream.open(), 0);
    });
}
