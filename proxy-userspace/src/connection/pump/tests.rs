use std::time::Duration;

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::{super::counting::Nobody, *};

/// Both ends of a connection: the one that connected, and the one that was accepted.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (connected, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn bytes_that_waited_for_room_are_read_though_no_more_come() {
    const LEN: usize = 600 << 10;
    let (mut client, downstream) = pair().await;
    let (upstream, mut server) = pair().await;
    // Small on the way out, large on the way in: the lane blocks with most of it unread.
    SockRef::from(&upstream).set_send_buffer_size(16 << 10).unwrap();
    SockRef::from(&server).set_recv_buffer_size(16 << 10).unwrap();
    SockRef::from(&downstream).set_recv_buffer_size(2 << 20).unwrap();
    SockRef::from(&client).set_send_buffer_size(2 << 20).unwrap();
    let pumping = tokio::spawn(async move { pump(&downstream, &upstream, true, &mut Nobody).await });

    client.write_all(&vec![b'x'; LEN]).await.unwrap();
    // The server reads slowly, so that the lane blocks again and again; the client waits for the
    // answer, and sends neither more nor FIN.
    let mut received = vec![0; LEN];
    for part in received.chunks_mut(4 << 10) {
        timeout(Duration::from_secs(10), server.read_exact(part)).await.unwrap().unwrap();
        tokio::task::yield_now().await;
    }
    server.write_all(b"all").await.unwrap();
    let mut answer = [0; 3];
    timeout(Duration::from_secs(10), client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"all");
    pumping.abort();
}

/// A connection through the pump, unseen: the client's end, the server's, and the pump.
async fn pumped() -> (TcpStream, TcpStream, tokio::task::JoinHandle<Ending>) {
    let (client, downstream) = pair().await;
    let (upstream, server) = pair().await;
    SockRef::from(&downstream).set_out_of_band_inline(true).unwrap();
    let pumping = tokio::spawn(async move { pump(&downstream, &upstream, true, &mut Nobody).await });
    (client, server, pumping)
}

/// Bytes that tell where they belong.
fn numbered(len: usize) -> Vec<u8> {
    (0..len.div_ceil(4)).flat_map(|number| u32::try_from(number).unwrap().to_be_bytes()).take(len).collect()
}

#[tokio::test]
async fn urgent_data_amid_bulk_arrives_in_its_place() {
    const BEFORE: usize = 2 << 20;
    let (client, mut server, pumping) = pumped().await;
    let sent = numbered(BEFORE + 1 + (1 << 20));
    let expected = sent.clone();
    let sending = tokio::task::spawn_blocking(move || {
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        io::Write::write_all(&mut client, &sent[..BEFORE]).unwrap();
        SockRef::from(&client).send_out_of_band(&sent[BEFORE..=BEFORE]).unwrap();
        io::Write::write_all(&mut client, &sent[BEFORE + 1..]).unwrap();
        // FIN follows.
    });
    let mut received = Vec::new();
    timeout(Duration::from_secs(10), server.read_to_end(&mut received)).await.unwrap().unwrap();
    assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
    sending.await.unwrap();
    drop(server);
    assert!(matches!(timeout(Duration::from_secs(10), pumping).await.unwrap().unwrap(), Ending::Finished));
}

#[tokio::test]
async fn a_reset_overtakes_bulk_that_is_stuck_in_a_pipe() {
    let (mut client, server, pumping) = pumped().await;
    // Nobody reads: everything between the two fills up.
    let bulk = vec![b'x'; 1 << 20];
    while timeout(Duration::from_millis(200), client.write_all(&bulk)).await.is_ok() {}
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let ending = timeout(Duration::from_secs(10), pumping).await.unwrap().unwrap();
    assert!(matches!(ending, Ending::Broken { by: Side::Client, .. }), "{ending:?}");
    drop(server);
}

#[tokio::test]
async fn bulk_both_ways_ends_with_both_fins() {
    const LEN: usize = 5_000_001;
    let (client, server, pumping) = pumped().await;
    let one_end = |stream: TcpStream| {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.into_split();
            let writing = tokio::spawn(async move {
                write.write_all(&numbered(LEN)).await.unwrap();
                write.shutdown().await.unwrap();
            });
            let mut received = Vec::new();
            timeout(Duration::from_secs(20), read.read_to_end(&mut received)).await.unwrap().unwrap();
            writing.await.unwrap();
            assert!(received == numbered(LEN), "{} of {LEN} bytes, or others", received.len());
        })
    };
    let (client, server) = (one_end(client), one_end(server));
    client.await.unwrap();
    server.await.unwrap();
    assert!(matches!(timeout(Duration::from_secs(10), pumping).await.unwrap().unwrap(), Ending::Finished));
}
