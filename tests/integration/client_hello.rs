//! A TLS ClientHello, made by hand so that it can be cut anywhere.

/// The parts of it that are looked at.
pub(crate) struct ClientHello<'a> {
    pub(crate) sni: &'a str,
    pub(crate) alpn: &'a [&'a str],
    /// Length of the padding extension, bytes.
    pub(crate) padding: usize,
}

impl ClientHello<'_> {
    /// In one TLS record.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        record(&self.handshake())
    }

    /// In two TLS records, the first with this many bytes of the handshake message.
    pub(crate) fn in_two_records(&self, first: usize) -> Vec<u8> {
        let handshake = self.handshake();
        let (before, after) = handshake.split_at(first);
        [record(before), record(after)].concat()
    }

    fn handshake(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0x5a; 32]); // random
        body.push(0); // session id
        body.extend(with_len16(&[0x13, 0x01, 0x13, 0x02])); // cipher suites
        body.extend([1, 0]); // compression methods
        body.extend(with_len16(&self.extensions()));
        let len = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[1][..], &len[1..], &body].concat()
    }

    fn extensions(&self) -> Vec<u8> {
        let name = [&[0][..], &with_len16(self.sni.as_bytes())].concat();
        let protocols: Vec<u8> = self
            .alpn
            .iter()
            .flat_map(|name| [&[u8::try_from(name.len()).expect("short")][..], name.as_bytes()].concat())
            .collect();
        // The names come last, behind the padding, so that they are far from the start.
        [
            extension(21, &vec![0; self.padding]),
            extension(43, &[2, 3, 4]),
            extension(0, &with_len16(&name)),
            extension(16, &with_len16(&protocols)),
        ]
        .concat()
    }
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_len16(body)].concat()
}

fn with_len16(body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_be_bytes();
    [&len[..], body].concat()
}

fn record(fragment: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &with_len16(fragment)].concat()
}
