//! The engine on random conversations, through the entry points of the fuzz
//! targets: nothing panics, whatever comes.

use super::entry;

/// A generator with a fixed seed: a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = self.next() % most;
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

#[test]
fn random_events_do_no_harm() {
    let rounds = std::env::var("HTTPSNIFF_RANDOM_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2000);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        entry::engine(&random.bytes(1500));
    }
}

#[test]
fn random_frames_do_no_harm() {
    let rounds = std::env::var("HTTPSNIFF_RANDOM_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1000);
    let mut random = Random(0x5eed);
    for round in 0..rounds {
        // The settings in turn; most conversations from their start.
        let mut data = random.bytes(400);
        data.splice(..data.len().min(4), [0; 4]);
        if round % 3 > 0 {
            data[0] = (round % 61) as u8;
            data[1] = (random.next() >> 32) as u8;
        }
        data[2] = random.next() as u8;
        entry::h2(&data);
    }
}

#[test]
fn random_messages_do_no_harm() {
    let mut random = Random(42);
    let seeds: [&[u8]; 4] = [
        b"GET /1 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"PUT /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 N\r\n\r\nrest",
        b"CONNECT h:1 HTTP/1.1\r\n\r\n\x16\x03\x01\x00\x05hello",
    ];
    for round in 0..20_000 {
        let mut data = vec![random.next() as u8];
        data.extend_from_slice(seeds[round % seeds.len()]);
        for _ in 0..random.next() % 5 {
            let at = random.next() as usize % data.len();
            match random.next() % 3 {
                0 => data[at] = random.next() as u8,
                1 => drop(data.remove(at)),
                _ => data.insert(at, b"\r\n :0G/"[random.next() as usize % 7]),
            }
        }
        entry::http1(&data);
    }
}

#[test]
fn random_hellos_do_no_harm() {
    let mut random = Random(7);
    let text = include_str!("../../fixtures/hellos/hellos.txt");
    let seeds: Vec<Vec<u8>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit(' ').next())
        .map(|hex| {
            let byte = |i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
            (0..hex.len() / 2).map(byte).collect()
        })
        .collect();
    for round in 0..20_000 {
        let mut data = seeds[round % seeds.len()].clone();
        for _ in 0..random.next() % 5 {
            let at = random.next() as usize % data.len();
            match random.next() % 3 {
                0 => data[at] = random.next() as u8,
                1 => data.truncate(at.max(1)),
                _ => data.insert(at, random.next() as u8),
            }
        }
        entry::hello(&data);
    }
}

#[test]
fn random_bodies_do_no_harm() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/content");
    let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(folder)
        .expect("the fixtures are there")
        .map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"))
        .collect();
    seeds.sort();
    seeds.push(b"data: 1\r\n\r\nevent: x\n\n{\"a\":[1]}--a\r\n\r\n--a--".to_vec());
    seeds.push(b"\0\0\0\0\x05hello\x01\0\0\0\0\x80\0\0\0\x05a: b\n".to_vec());
    let mut random = Random(7);
    for round in 0..3000 {
        let mut data = random.bytes(4);
        data.resize(3, 0);
        data.extend_from_slice(&seeds[round % seeds.len()]);
        for _ in 0..random.next() % 4 {
            let at = 3 + random.next() as usize % (data.len() - 3);
            match random.next() % 3 {
                0 => data[at] = random.next() as u8,
                1 => data.truncate(at + 1),
                _ => data.insert(at, random.next() as u8),
            }
        }
        entry::content(&data);
    }
}
