//! An upstream that takes only what is plainly meant, and remembers it.

use super::strict;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the gateway authorizes itself with.
pub const CREDENTIAL: &str = "Bearer upstream-secret";

/// What came in, by canary.
#[derive(Default)]
pub struct Seen {
    pub bodies: HashMap<u64, Vec<Vec<u8>>>,
    pub offences: Vec<String>,
}

/// A raw upstream.
pub struct Upstream {
    pub authority: String,
    pub seen: Arc<Mutex<Seen>>,
    /// What must never come in: the callers' token.
    pub foreign: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let (seen, foreign) = (Arc::<Mutex<Seen>>::default(), Arc::new(Mutex::new("not yet".to_owned())));
        let task = tokio::spawn({
            let (seen, foreign, authority) = (seen.clone(), foreign.clone(), authority.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let foreign = foreign.lock().clone();
                    tokio::spawn(serve(stream, seen.clone(), authority.clone(), foreign));
                }
            }
        });
        Self { authority, seen, foreign, task }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers every request with its number.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Seen>>, host: String, foreign: String) {
    let mut bytes = Vec::new();
    loop {
        match strict::take(&bytes, &host, CREDENTIAL, &foreign) {
            Ok(Some(taken)) => {
                bytes.drain(..taken.length);
                let number = taken.number;
                seen.lock().bodies.entry(number).or_default().push(taken.body);
                let body = answer(number);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length";
                if stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.is_err() {
                    return;
                }
            }
            Ok(None) => match stream.read_buf(&mut bytes).await {
                Ok(1..) => {}
                // What broke off was no request.
                _ => return,
            },
            Err(why) => {
                seen.lock().offences.push(why);
                return;
            }
        }
    }
}

/// The body of an answer.
pub fn answer(number: u64) -> String {
    format!("<answer {number}>")
}

/// The numbers of the answers in what a caller got.
pub fn answers(text: &str) -> Vec<u64> {
    text.split("<answer ").skip(1).filter_map(|rest| rest.split_once('>')?.0.parse().ok()).collect()
}
