//! What is held of a connection.

use proptest::prelude::*;

use super::{
    super::streams::{MAX_STREAMS_HELD, Stream},
    *,
};

/// A literal field, raw, that goes into the table.
fn insert(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0x40];
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length @ ..127) => field.push(length),
            _ => {
                let rest = u8::try_from(text.len() - 127).unwrap();
                field.extend(if rest < 0x80 { vec![127, rest] } else { vec![127, rest, 1] });
            }
        }
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// A change of the table's size to 64 KiB.
const LARGE_TABLE: &[u8] = &[0x3f, 0xe1, 0xff, 0x03];

/// A connection, and a listener that wants to know all.
struct Connection {
    http2: Http2,
    recorder: Recorder,
}

impl Connection {
    fn opened() -> Self {
        let mut connection = Self { http2: Http2::new(), recorder: Recorder::new(true) };
        assert!(connection.client(OPENING).is_ok() && connection.server(SERVER_SETTINGS).is_ok());
        connection
    }

    fn client(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let followed = self.http2.client_bytes(bytes, self.recorder.start, &mut self.recorder);
        self.check(followed)
    }

    fn server(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let followed = self.http2.server_bytes(bytes, self.recorder.start, &mut self.recorder);
        self.check(followed)
    }

    fn check(&self, followed: Result<(), Stop>) -> Result<(), Stop> {
        let Http2 { client, server, .. } = &self.http2;
        assert!(client.held_now() <= client.held() && server.held_now() <= server.held());
        assert!(followed.is_err() || self.http2.held() <= MAX_HELD, "{} bytes", self.http2.held());
        followed
    }
}

/// What a stop is for.
fn why(followed: &Result<(), Stop>) -> Option<Lost> {
    match followed {
        Err(Stop::Lost(why)) => Some(*why),
        Err(_) | Ok(()) => None,
    }
}

/// The head of a request with a path, an authority and a trace of its own, which stay in the table.
fn request(stream: u32, length: usize) -> Vec<u8> {
    let text = format!("{stream:0length$}");
    let trace = format!("00-{stream:032x}-00f067aa0ba902b7-01");
    let fields = [insert(":path", &format!("/{text}")), insert(":authority", &text)];
    let trace = insert("traceparent", &trace);
    frame(HEADERS, WHOLE, stream, &[&[0x82, 0x86][..], &fields.concat(), &trace].concat())
}

#[test]
fn a_stream_is_small() {
    assert!(size_of::<Option<Stream>>() <= 128, "{} bytes", size_of::<Option<Stream>>());
    assert!(size_of::<Http2>() <= 768, "{} bytes", size_of::<Http2>());
}

#[test]
fn what_is_usual_has_room() {
    // Both tables are full, and streams as many as are followed, with taps.
    let mut connection = Connection::opened();
    let fill: Vec<u8> = (0..60)
        .flat_map(|at| {
            [insert(":path", &format!("/a/path/of/some/length/{at}")), insert("x-id", "0123456789")]
        })
        .flatten()
        .collect();
    let fill = [&[0x82][..], &fill].concat();
    let client = [frame(HEADERS, WHOLE, 1, &fill), get(3)].concat();
    let server = frame(HEADERS, WHOLE, 1, &[&[0x88][..], &fill].concat());
    assert!(connection.client(&client).is_ok() && connection.server(&server).is_ok());
    for at in 2..=MAX_OPEN {
        assert!(connection.client(&get(u32::try_from(2 * at + 1).unwrap())).is_ok());
    }
    assert_eq!(connection.http2.open(), MAX_OPEN);
    assert!(!connection.recorder.events.iter().any(|event| event.starts_with("untracked")));

    // A header block in pieces.
    assert!(connection.client(&frame(HEADERS, 0, 801, &[0x82; 4000])).is_ok());
}

#[test]
fn a_large_table_of_what_is_of_no_interest_has_room() {
    let mut connection = Connection::opened();
    assert!(connection.client(&get(1)).is_ok());
    assert!(connection.server(&frame(HEADERS, END_HEADERS, 1, &[LARGE_TABLE, &[0x88]].concat())).is_ok());
    for at in 0..2000 {
        let id = 2 * at + 3;
        let fields = [
            insert("date", &format!("Mon, 21 Oct 2013 20:13:{at:04} GMT")),
            insert("etag", &format!("\"{at:032}\"")),
        ];
        assert!(connection.client(&get(id)).is_ok());
        let answer = frame(HEADERS, WHOLE, id, &[&[0x88][..], &fields.concat()].concat());
        assert!(connection.server(&answer).is_ok());
    }
    assert!(connection.http2.responses.held() > 6 * 1024, "{}", connection.http2.responses.held());
}

#[test]
fn two_large_tables_are_lost_to_the_bound() {
    let mut connection = Connection::opened();
    assert!(connection.client(&get(1)).is_ok());
    let fields = [LARGE_TABLE, &insert(":path", &"p".repeat(250)).repeat(50)].concat();
    let mut lost = None;
    for at in 1..20 {
        let fields = if at == 1 { &fields[..] } else { &fields[LARGE_TABLE.len()..] };
        let client = connection.client(&frame(HEADERS, WHOLE, 2 * at + 1, fields));
        lost = lost.or(why(&client));
        if lost.is_some() {
            break;
        }
    }
    assert_eq!(lost, Some(Lost::MemoryBound));
}

#[test]
fn blocks_that_do_not_fit_are_lost_however_they_are_cut() {
    let block = |byte| frame(HEADERS, 0, 3, &[byte; MAX_BLOCK - 1]);
    let server = frame(HEADERS, END_HEADERS, 1, &[0x88; MAX_BLOCK - 1]);
    for length in [1, 100, 5000, MAX_BLOCK + 9] {
        let mut connection = Connection::opened();
        assert!(connection.client(&[get(1), block(0x82)].concat()).is_ok());
        // What is held of the client's, and the blocks' strings, leave less than another one takes.
        let lost: Vec<_> = server.chunks(length).map(|piece| why(&connection.server(piece))).collect();
        assert_eq!(lost.iter().flatten().next(), Some(&Lost::MemoryBound), "{length}");
    }
}

#[test]
fn when_all_streams_are_over_nothing_of_them_is_held() {
    let mut connection = Connection::opened();
    for round in 0..3 {
        let ids = (0..MAX_OPEN).map(|at| u32::try_from(2 * (round * MAX_OPEN + at) + 1).unwrap());
        for id in ids.clone() {
            assert!(connection.client(&request(id, 20)).is_ok());
        }
        assert!(connection.http2.open() >= MAX_OPEN / 2, "each has an authority of its own");
        assert!(connection.http2.streams.held() <= MAX_STREAMS_HELD);
        for id in ids.rev() {
            assert!(connection.server(&ok(WHOLE, id)).is_ok());
        }
        assert_eq!(connection.http2.open(), 0);
        // Room for four streams, and what some requests were called.
        assert!(
            connection.http2.streams.held() <= 4 * 138 + 2 * 8 * 70,
            "{}",
            connection.http2.streams.held()
        );
    }
}

#[test]
fn streams_whose_names_have_no_room_are_counted_alone() {
    let mut connection = Connection::opened();
    for at in 0..MAX_OPEN {
        let name = format!("{at:0250}");
        let head = [&[0x82, 0x86, 0x84][..], &insert(":authority", &name)].concat();
        assert!(connection.client(&frame(HEADERS, WHOLE, u32::try_from(2 * at + 1).unwrap(), &head)).is_ok());
    }
    let untracked = connection.recorder.events.iter().filter(|event| event.starts_with("untracked")).count();
    assert_eq!(connection.http2.open() + untracked, MAX_OPEN);
    assert!((20..100).contains(&untracked), "{untracked}");
}

/// What a peer does next.
#[derive(Debug, Clone)]
enum Act {
    /// A request with strings of so many bytes.
    Request(usize),
    /// HEADERS with so many fields of a length that stay in the table, which may be enlarged first.
    Fields { stream: u32, enlarge: bool, count: usize, length: usize, of_interest: bool, end: bool },
    /// The start of a header block.
    Block(usize),
    /// More of it.
    Continue { length: usize, end: bool },
    /// RST_STREAM.
    Reset(u32),
    /// Whatever it is.
    Bytes(Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..240_usize).prop_map(Act::Request),
        6 => (0..60_u32, any::<bool>(), 0..60_usize, 0..240_usize, any::<bool>(), any::<bool>()).prop_map(
            |(stream, enlarge, count, length, of_interest, end)| Act::Fields {
                stream, enlarge, count, length, of_interest, end,
            }
        ),
        1 => (0..MAX_BLOCK).prop_map(Act::Block),
        1 => (0..MAX_BLOCK, any::<bool>()).prop_map(|(length, end)| Act::Continue { length, end }),
        2 => (0..60_u32).prop_map(Act::Reset),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Act::Bytes),
    ]
}

impl Act {
    /// As it is sent, after so many requests.
    fn bytes(&self, requests: &mut u32) -> Vec<u8> {
        match self {
            Self::Request(length) => {
                *requests += 1;
                request(2 * *requests + 1, *length)
            }
            Self::Fields { stream, enlarge, count, length, of_interest, end } => {
                let name = if *of_interest { ":authority" } else { "x-any" };
                let mut fields = if *enlarge { LARGE_TABLE.to_vec() } else { Vec::new() };
                for at in 0..*count {
                    fields.extend(insert(name, &format!("{at:0length$}")));
                }
                let flags = if *end { WHOLE } else { END_HEADERS };
                frame(HEADERS, flags, 2 * stream + 1, &fields)
            }
            Self::Block(length) => frame(HEADERS, 0, 2 * *requests + 1, &vec![0x88; *length]),
            Self::Continue { length, end } => {
                let flags = if *end { END_HEADERS } else { 0 };
                frame(CONTINUATION, flags, 2 * *requests + 1, &vec![0x88; *length])
            }
            Self::Reset(stream) => frame(RST_STREAM, 0, 2 * stream + 1, &[0; 4]),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_peers_send_what_is_held_is_bounded_and_told_the_same_however_cut(
        acts in prop::collection::vec((any::<bool>(), act()), 0..120),
        lengths in prop::collection::vec(1..4000_usize, 1..20),
    ) {
        let follow = |lengths: &[usize]| {
            let mut connection = Connection::opened();
            let mut requests = 0;
            let mut lengths = lengths.iter().cycle();
            for (by_client, act) in &acts {
                let bytes = act.bytes(&mut requests);
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let length = lengths.next().map_or(rest.len(), |length| *length);
                    let (piece, after) = rest.split_at(length.min(rest.len()));
                    rest = after;
                    let followed = if *by_client { connection.client(piece) } else { connection.server(piece) };
                    if let Some(why) = why(&followed) {
                        connection.http2.lost(why, &mut connection.recorder);
                        return connection.recorder.events;
                    }
                }
            }
            connection.recorder.events
        };
        prop_assert_eq!(follow(&lengths), follow(&[]));
    }
}
