use std::time::Duration;
fn main() {
    let s = httpsniff::capture::Settings { ring_bytes: 16<<20, pids: std::env::args().skip(1).filter_map(|a|a.parse().ok()).collect(), ..Default::default() };
    let t = std::time::Instant::now();
    let mut c = httpsniff::capture::Capture::start(&s).unwrap_or_else(|e| { eprintln!("{e:#}"); std::process::exit(1) });
    eprintln!("started in {:?}", t.elapsed());
    for n in c.take_notices() { eprintln!("{n}"); }
    let t = std::time::Instant::now();
    while t.elapsed() < Duration::from_secs(8) {
        c.poll(Duration::from_millis(50), &mut |i| { match i { httpsniff::capture::Item::Event(e) => { println!("{:?} {:?} tid {} {} {:?}->{:?} lib {:?} from_start {}", e.time.0, e.process.map(|p| (p.pid, String::from_utf8_lossy(p.exe.as_deref().unwrap_or(b"?")).into_owned(), p.cmdline.iter().map(|a|String::from_utf8_lossy(a).into_owned()).collect::<Vec<_>>().join(" "), p.uid)), e.tid, String::from_utf8_lossy(e.thread), e.connection.local, e.connection.peer, e.connection.tls_library, e.connection.from_start);
          match e.action { httpsniff::event::Action::Data(d) => println!("   {:?} {:?} off {} len {} missing {} {:?}", e.connection.key.source, d.direction, d.offset, d.bytes.len(), d.missing, String::from_utf8_lossy(&d.bytes[..d.bytes.len().min(60)])), a => println!("   {:?} {:?}", e.connection.key.source, a) } } i => println!("{i:?}") }; true }).unwrap();
    }
    let t = std::time::Instant::now();
    eprintln!("{:?}", c.losses());
    drop(c);
    eprintln!("stopped in {:?}", t.elapsed());
}
