use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers every request on every connection with `answer`, as it is.
async fn serve(answer: &'static str) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tasks::spawn("test", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            let mut byte = [0];
            while let Ok(1) = stream.read(&mut byte).await {
                head.push(byte[0]);
                if head.ends_with(b"\r\n\r\n") {
                    head.clear();
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        }
    });
    addr.into()
}

#[tokio::test]
async fn get_reads_status_and_body() {
    let addr = serve("HTTP/1.1 503 Busy\r\ncontent-length: 3\r\nx-a: b\r\n\r\nno\n").await;
    let answer = get(&addr, "/readyz", Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["x-a"], "b");
    assert_eq!(answer.body(), "no\n");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let addr = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut connection = Connection::open(&addr).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            connection.send(Method::GET, "/").await.unwrap().status(),
            200
        );
        assert!(!connection.is_closed());
    }
}

#[tokio::test]
async fn silence_is_an_error_that_names_the_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = Address::from(listener.local_addr().unwrap());
    let error = get(&addr, "/", Duration::from_millis(1)).await.unwrap_err();
    assert!(error.contains(&addr.to_string()), "{error}");
    drop(listener);
    let error = get(&addr, "/", Duration::from_secs(60)).await.unwrap_err();
    assert!(error.starts_with("cannot connect to"), "{error}");
}
