use std::time::Duration;

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use super::*;

struct Unwatched;

impl Watch for Unwatched {
    fn client_sent(&mut self, _: &[u8]) {}
    fn server_sent(&mut self, _: &[u8]) {}
    fn server_took(&mut self, _: usize) {}
    fn client_took(&mut self, _: usize) {}
    fn server_finished(&mut self) {}
}

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
    let pumping = tokio::spawn(async move { pump(&downstream, &upstream, &mut Unwatched).await });

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
