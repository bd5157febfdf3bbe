//! The HTTP/2 client against bytes whose reading is known from RFC 9113.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tower_conn_testkit::h2::{self, H2Client};

const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A client, and its other end after the preface and the SETTINGS.
async fn open() -> (H2Client<DuplexStream>, DuplexStream) {
    let (near, mut far) = duplex(1 << 16);
    let client = H2Client::open(near).await;
    expect(&mut far, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    expect(&mut far, EMPTY_SETTINGS).await;
    (client, far)
}

async fn expect(far: &mut DuplexStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    far.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

/// All that the client sent besides, once it is gone.
async fn sent(client: H2Client<DuplexStream>, mut far: DuplexStream) -> Vec<u8> {
    drop(client);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).await.unwrap();
    sent
}

#[tokio::test]
async fn a_get_is_a_head_that_ends_its_stream() {
    let (mut client, far) = open().await;
    client.get(3, "/x").await;
    // RFC 7541: :method GET and :scheme http by index, then literals of the names :path and :authority.
    let head = b"\0\0\x09\x01\x05\0\0\0\x03\x82\x86\x04\x02/x\x01\x01a";
    assert_eq!(sent(client, far).await, head);
}

#[tokio::test]
async fn settings_are_acknowledged_and_pings_sent_back_once() {
    let (mut client, mut far) = open().await;
    let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0][..], &[0, 3, 0, 0, 0, 9]].concat();
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], b"12345678"].concat();
    let acks = [
        &[0, 0, 0, 4, 1, 0, 0, 0, 0][..],
        &[0, 0, 8, 6, 1, 0, 0, 0, 0],
        b"12345678",
    ]
    .concat();
    far.write_all(&settings).await.unwrap();
    far.write_all(&ping).await.unwrap();
    // Acknowledgements of its own are not answered again.
    far.write_all(&acks).await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let frame = client.next().await.unwrap();
        kinds.push((frame.kind, frame.flags));
    }
    assert_eq!(kinds, [(4, 0), (6, 0), (4, 1), (6, 1)]);

    client.pongs = false;
    far.write_all(&ping).await.unwrap();
    assert_eq!(client.until(h2::PING).await.payload, "12345678");
    assert_eq!(sent(client, far).await, acks);
}

#[tokio::test]
async fn frames_are_shown_whole_however_they_arrive() {
    let (mut client, mut far) = open().await;
    let frames = [
        &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88][..],
        &[0, 0, 2, 0, 1, 0, 0, 0, 1, b'o', b'k'],
        &[
            0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ],
        // Cut off in its payload.
        &[0, 0, 9, 0, 1, 0, 0, 0, 3, b'o'],
    ]
    .concat();
    tokio::spawn(async move {
        for byte in frames {
            far.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let frames = client.rest().await;
    let ends: Vec<_> = frames.iter().map(h2::Frame::ends_stream).collect();
    assert_eq!(ends, [false, true, false]);
    assert_eq!((frames[1].stream, &frames[1].payload[..]), (1, &b"ok"[..]));
    assert_eq!(frames[2].last_stream(), i32::MAX as u32);
}

#[test]
fn a_frame_has_a_length_of_24_bits() {
    let frame = h2::frame(h2::RST_STREAM, 0, 0x0102_0304, &[9; 0x1_0203]);
    assert_eq!(frame[..9], [1, 2, 3, 3, 0, 1, 2, 3, 4]);
    assert_eq!(frame.len(), 9 + 0x1_0203);
}
