use super::super::names::Families;
use super::*;
use futures_util::FutureExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

fn resolver(names: &[(&str, &[&str])]) -> Resolver {
    let parsed = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    Resolver::fixed(names.iter().map(|(name, list)| ((*name).to_owned(), parsed(list))).collect())
}

async fn resolve(resolver: &Resolver, text: &str, allow_private: bool) -> Result<Vec<String>, ResolveError> {
    let found = resolver.resolve(&Authority::parse(text).unwrap(), allow_private).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn only_checked_addresses_come_out() {
    let resolver = resolver(&[
        ("mixed.example", &["8.8.8.8", "10.0.0.1", "1.1.1.1", "2606:4700::1", "::1"]),
        ("metadata.example", &["169.254.169.254"]),
        ("home.example", &["192.168.0.2"]),
    ]);
    let found = resolve(&resolver, "mixed.example", false).await.unwrap();
    assert_eq!(found, ["8.8.8.8:443", "[2606:4700::1]:443", "1.1.1.1:443"]);
    assert_eq!(resolve(&resolver, "home.example", false).await, Err(Forbidden.into()));
    assert_eq!(resolve(&resolver, "home.example:81", true).await.unwrap(), ["192.168.0.2:81"]);
    for allowed in [false, true] {
        assert_eq!(resolve(&resolver, "metadata.example", allowed).await, Err(Forbidden.into()));
    }
    assert_eq!(resolve(&resolver, "nowhere.example", true).await, Err(ResolveError::NotFound));
}

#[tokio::test]
async fn literals_and_localhost_ask_nobody() {
    let nobody = Resolver::with(Names::Nobody);
    assert_eq!(resolve(&nobody, "8.8.8.8", false).await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(resolve(&nobody, "x.localhost:9000", true).await.unwrap(), ["127.0.0.1:9000"]);
    assert_eq!(resolve(&nobody, "localhost", false).await, Err(Forbidden.into()));
    assert_eq!(resolve(&nobody, "mcp.example", false).await, Err(ResolveError::Timeout));
}

#[tokio::test]
async fn many_callers_ask_once() {
    let resolver = resolver(&[("one.example", &["1.1.1.1"])]);
    let one = Authority::parse("one.example").unwrap();
    let all = futures_util::future::join_all((0..50).map(|_| resolver.resolve(&one, false))).await;
    assert!(all.iter().all(Result::is_ok));
    resolver.cache.run_pending_tasks();
    assert_eq!(resolver.cache.entry_count(), 1);
}

/// Names as a misbehaving name server tells them, over UDP on loopback.
struct NameServer {
    address: SocketAddr,
    /// The names that were asked for, with the type in front.
    asked: Arc<Mutex<Vec<String>>>,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
enum Reply {
    /// These records, the ones of another type left out.
    Records(u32, Vec<Record>),
    /// An error: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Code(u8),
    /// Nothing.
    Silence,
    /// An address when IPv4 is asked for; nothing for IPv6.
    HalfSilence,
    /// To another question.
    WrongId,
    /// Not DNS.
    Garbage,
}

#[derive(Clone)]
enum Record {
    Address(IpAddr),
    Alias(&'static str),
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, replies) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<HashMap<String, Reply>>>::default());
        let (seen, known) = (asked.clone(), replies.clone());
        let task = tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let (name, kind, end) = question(&query[..length]);
                let label = if kind == 1 { "A" } else { "AAAA" };
                seen.lock().push(format!("{label} {name}"));
                let reply = known.lock().get(&name).cloned().unwrap_or(Reply::Code(3));
                if let Some(bytes) = answer(&query[..end], &name, kind, &reply) {
                    let _ = socket.send_to(&bytes, from).await;
                }
            }
        });
        Self { address, asked, replies, task }
    }

    fn set(&self, name: &str, reply: Reply) -> &Self {
        self.replies.lock().insert(name.to_owned(), reply);
        self
    }

    fn addresses(&self, name: &str, ttl: u32, addresses: &[&str]) -> &Self {
        let records = addresses.iter().map(|address| Record::Address(address.parse().unwrap())).collect();
        self.set(name, Reply::Records(ttl, records))
    }

    fn asked(&self, name: &str) -> usize {
        self.asked.lock().iter().filter(|asked| **asked == format!("A {name}")).count()
    }

    fn resolver(&self) -> Resolver {
        let mut server = NameServerConfig::udp(self.address.ip());
        server.connections[0].port = self.address.port();
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = || Ok(TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default()));
        Resolver::with(Names::System(Box::new(Families::new(builder).unwrap())))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Name and type of the question, and where it ends (RFC 1035 §4.1.2).
fn question(query: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    (labels.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]), at + 5)
}

fn answer(question: &[u8], name: &str, kind: u16, reply: &Reply) -> Option<Vec<u8>> {
    let (ttl, records, code) = match reply {
        Reply::Records(ttl, records) => (*ttl, &records[..], 0),
        Reply::Code(code) => (0, &[][..], *code),
        Reply::HalfSilence if kind != 1 => return None,
        Reply::WrongId | Reply::HalfSilence => (60, &[Record::Address(IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)))][..], 0),
        Reply::Garbage => return Some(b"\0\x01 this is not DNS".to_vec()),
        Reply::Silence => return None,
    };
    let mut bytes = question.to_vec();
    let (mut owner, mut count) = (name.to_owned(), 0u8);
    for record in records {
        let (number, data) = match record {
            Record::Alias(target) => (5, wire(target)),
            Record::Address(IpAddr::V4(v4)) => (1, v4.octets().to_vec()),
            Record::Address(IpAddr::V6(v6)) => (28, v6.octets().to_vec()),
        };
        if number == kind || number == 5 {
            bytes.extend(wire(&owner));
            bytes.extend([&number.to_be_bytes()[..], &[0, 1], &ttl.to_be_bytes()].concat());
            bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(data);
            count += 1;
        }
        if let Record::Alias(target) = record {
            owner = (*target).to_owned();
        }
    }
    if matches!(reply, Reply::WrongId) {
        bytes[0] ^= 0xff;
    }
    // A response, recursion available, this many answers, nothing else.
    bytes[2..12].copy_from_slice(&[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    Some(bytes)
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

#[tokio::test]
async fn aliases_are_followed_and_judged_by_where_they_end() {
    let server = NameServer::start().await;
    let chain = |end: &str| {
        let records =
            vec![Record::Alias("b.example"), Record::Alias("c.example"), Record::Address(end.parse().unwrap())];
        Reply::Records(60, records)
    };
    server.set("good.example", chain("8.8.8.8"));
    server.set("metadata.example", chain("169.254.169.254"));
    server.set("inside.example", chain("10.0.0.1"));
    // The name server leaves the rest of the chain to us.
    server.set("step.example", Reply::Records(60, vec![Record::Alias("loopback.example")]));
    server.addresses("loopback.example", 60, &["127.0.0.1"]);
    server.set("circle.example", Reply::Records(60, vec![Record::Alias("circle.example")]));
    let resolver = server.resolver();
    assert_eq!(resolve(&resolver, "good.example", false).await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(resolve(&resolver, "metadata.example", true).await, Err(Forbidden.into()));
    for inside in ["inside.example", "step.example"] {
        assert_eq!(resolve(&resolver, inside, false).await, Err(Forbidden.into()), "{inside}");
        assert!(resolve(&resolver, inside, true).await.is_ok(), "{inside}");
    }
    assert!(resolve(&resolver, "circle.example", true).await.is_err());
}

#[tokio::test]
async fn of_mixed_answers_only_the_permitted_addresses_come_out() {
    let server = NameServer::start().await;
    let mixed = ["10.0.0.1", "8.8.8.8", "::1", "::ffff:169.254.169.254", "2606:4700::1", "1.1.1.1", "64:ff9b::7f00:1"];
    server.addresses("mixed.example", 60, &mixed);
    let resolver = server.resolver();
    let mut found = resolve(&resolver, "mixed.example", false).await.unwrap();
    assert!(found[1].starts_with('['), "the families take turns: {found:?}");
    found.sort();
    assert_eq!(found, ["1.1.1.1:443", "8.8.8.8:443", "[2606:4700::1]:443"]);
    assert_eq!(server.asked("mixed.example"), 1);
    assert_eq!(resolve(&resolver, "mixed.example", true).await.unwrap().len(), 5);
    assert_eq!(server.asked("mixed.example"), 1, "one look-up serves both");
}

#[tokio::test]
async fn failures_are_remembered_and_told_apart() {
    let server = NameServer::start().await;
    server.set("refused.example", Reply::Code(5)).set("broken.example", Reply::Code(2));
    server.set("empty.example", Reply::Records(60, Vec::new()));
    let resolver = server.resolver();
    for (name, error) in [
        ("nowhere.example", ResolveError::NotFound),
        ("empty.example", ResolveError::NotFound),
        ("refused.example", ResolveError::Failed),
        ("broken.example", ResolveError::Failed),
    ] {
        assert_eq!(resolve(&resolver, name, false).await, Err(error.clone()), "{name}");
        let asked = server.asked(name);
        assert!(asked >= 1);
        assert_eq!(resolver.lookup(&name.to_uppercase(), false).await, Err(error), "{name}");
        assert_eq!(server.asked(name), asked, "{name}: not asked again");
        assert_eq!(remembered(&resolver, name), NEGATIVE);
    }
    // Nobody below our cache remembers longer.
    resolver.cache.invalidate_all();
    server.addresses("nowhere.example", 60, &["8.8.8.8"]);
    assert!(resolve(&resolver, "nowhere.example", false).await.is_ok());
}

#[tokio::test]
async fn answers_are_believed_within_bounds() {
    let server = NameServer::start().await;
    server.addresses("short.example", 0, &["8.8.8.8"]).addresses("long.example", 604_800, &["8.8.8.8"]);
    server.addresses("minute.example", 60, &["8.8.8.8"]);
    let resolver = server.resolver();
    for (name, low, high) in [
        ("short.example", POSITIVE.0, POSITIVE.0),
        ("long.example", POSITIVE.1, POSITIVE.1),
        ("minute.example", Duration::from_secs(55), Duration::from_secs(60)),
    ] {
        assert!(resolve(&resolver, name, false).await.is_ok());
        let life = remembered(&resolver, name);
        assert!((low..=high).contains(&life), "{name}: {life:?}");
    }
}

#[tokio::test]
async fn name_servers_that_answer_nothing_of_use_are_given_up_in_time() {
    let server = NameServer::start().await;
    server.set("silent.example", Reply::Silence).set("forged.example", Reply::WrongId);
    server.set("garbage.example", Reply::Garbage);
    let resolver = server.resolver();
    let started = Instant::now();
    let names = ["silent.example", "silent.example", "forged.example", "garbage.example"];
    let all = futures_util::future::join_all(names.map(|name| resolve(&resolver, name, true))).await;
    assert!(started.elapsed() < 2 * TIMEOUT, "{:?}", started.elapsed());
    for (name, outcome) in names.iter().zip(all) {
        assert!(matches!(outcome, Err(ResolveError::Timeout | ResolveError::Failed)), "{name}: {outcome:?}");
    }
    let asked = server.asked("silent.example");
    assert_eq!(resolve(&resolver, "silent.example", true).await, Err(ResolveError::Timeout));
    assert_eq!(server.asked("silent.example"), asked, "remembered too");
}

#[tokio::test]
async fn a_family_that_is_not_answered_for_does_not_hold_up_the_other() {
    let server = NameServer::start().await;
    server.set("half.example", Reply::HalfSilence);
    let resolver = server.resolver();
    let started = Instant::now();
    assert_eq!(resolve(&resolver, "half.example", false).await.unwrap(), ["8.8.8.8:443"]);
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    assert_eq!(remembered(&resolver, "half.example"), Duration::from_secs(10), "asked again soon");
}

#[tokio::test]
async fn a_name_that_changes_is_asked_for_once_by_fifty_callers_and_none_sees_a_forbidden_address() {
    let server = NameServer::start().await;
    server.addresses("rebind.example", 0, &["8.8.8.8"]);
    let resolver = server.resolver();
    let all = futures_util::future::join_all((0..50).map(|_| resolve(&resolver, "rebind.example", false))).await;
    assert!(all.iter().all(|found| *found == Ok(vec!["8.8.8.8:443".to_owned()])));
    assert_eq!(server.asked("rebind.example"), 1);
    server.addresses("rebind.example", 0, &["127.0.0.1", "169.254.169.254"]);
    resolver.cache.invalidate_all();
    assert_eq!(resolve(&resolver, "rebind.example", false).await, Err(Forbidden.into()));
}

/// Security case C "SSRF: rebinding": what was checked is what is connected to, since nobody asks a second time.
#[tokio::test]
async fn c_ssrf_the_checked_address_is_the_one_connected_to() {
    let server = NameServer::start().await;
    let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    server.addresses("rebind.example", 0, &["127.0.0.1"]);
    let client = super::super::HttpClient::new(server.resolver(), None).unwrap();
    let url = format!("https://rebind.example:{port}/");
    let fetch = || http::Request::get(&url).body(bytes::Bytes::new()).unwrap();
    assert!(client.send(fetch(), false).await.unwrap_err().to_string().contains("private"));
    assert_eq!(server.asked("rebind.example"), 1);
    assert!(inside.accept().now_or_never().is_none(), "nothing was connected to");
    let connected = tokio::join!(client.send(fetch(), true), async {
        // The answer changes between check and use, which are one.
        let (stream, _) = inside.accept().await.unwrap();
        server.addresses("rebind.example", 0, &["169.254.169.254"]);
        drop(stream);
    });
    assert!(matches!(connected.0, Err(super::super::FetchError::Connection { .. })), "{:?}", connected.0);
    assert_eq!(server.asked("rebind.example"), 1, "one answer for the check, the connection, and both clients");
}

/// How long an answer is believed.
fn remembered(resolver: &Resolver, name: &str) -> Duration {
    resolver.cache.get(name).unwrap().get().unwrap().ttl
}
