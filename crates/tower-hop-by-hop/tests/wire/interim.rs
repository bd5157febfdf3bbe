//! Interim responses, which pass beside the service.

use std::sync::mpsc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower_conn_testkit::peer::ScriptedPeer;
use tower_hop_by_hop::{Policy, strip_interim};

#[tokio::test]
async fn early_hints_are_stripped_or_dropped() {
    let peer = ScriptedPeer::start(|mut exchange| async move {
        exchange
            .send(
                "HTTP/1.1 103 Early Hints\r\nconnection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\n\
                 link: </a.css>; rel=preload\r\n\r\n",
            )
            .await
            .expect("sent");
        exchange.ok("hi").await.expect("sent");
    })
    .await;
    let (sender, interim) = mpsc::channel();
    let policy = Policy::gateway();
    let mut request = Request::get(peer.uri("/"))
        .body(Empty::<Bytes>::new())
        .expect("valid");
    hyper::ext::on_informational(&mut request, move |response| {
        for client in [Version::HTTP_11, Version::HTTP_10] {
            let kept = strip_interim(response.headers(), response.status(), client, &policy);
            sender.send(kept).expect("received");
        }
    });
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.expect("a response");
    assert_eq!(response.status(), 200);
    let for_http11 = interim.try_recv().expect("called").expect("forwarded");
    assert_eq!(for_http11.keys().collect::<Vec<_>>(), ["link"]);
    assert!(
        interim.try_recv().expect("called").is_none(),
        "HTTP/1.0 knows no interim responses"
    );
}
