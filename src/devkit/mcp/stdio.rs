//! The stdio transport (MCP, Transports): one JSON-RPC message on each line, answers in the order in which they are ready.

use super::{Caller, events};
use futures_util::StreamExt;
use serde_json::Value;
use std::io;
use std::os::fd::AsFd;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// The variable by which a process is told for whom it works, as API keys are told.
const USER: &str = "DEMO_USER";
/// How many answers may wait to be written.
const WAITING: usize = 64;

/// Serves the process that started this one, until it closes our standard input.
///
/// # Errors
/// When there is no reading or writing.
pub async fn serve_standard_streams() -> io::Result<()> {
    let open = |stream: std::os::fd::BorrowedFd<'_>| stream.try_clone_to_owned().map(|fd| File::from_std(fd.into()));
    serve(BufReader::new(open(io::stdin().as_fd())?), open(io::stdout().as_fd())?).await
}

#[expect(clippy::disallowed_methods, reason = "whoever starts this program says in its environment who uses it")]
async fn serve(input: impl AsyncBufRead + Unpin, output: impl AsyncWrite + Unpin) -> io::Result<()> {
    let caller = Caller {
        user: std::env::var(USER).unwrap_or_else(|_| "whoever started this process".to_owned()),
        scopes: String::new(),
        server: format!("process {}", std::process::id()),
    };
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::try_join!(read(input, &caller, sender), write(output, receiver)).map(|_| ())
}

/// Every request has a task of its own, so that a slow one holds nobody up.
async fn read(input: impl AsyncBufRead + Unpin, caller: &Caller, answers: mpsc::Sender<Value>) -> io::Result<()> {
    let mut lines = input.lines();
    while let Some(line) = lines.next_line().await? {
        let Ok(message) = serde_json::from_str(&line) else { continue };
        let (answers, caller) = (answers.clone(), caller.clone());
        tokio::spawn(async move {
            let mut replies = std::pin::pin!(events::replies(message, caller));
            while let Some(reply) = replies.next().await {
                if answers.send(reply).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

async fn write(mut output: impl AsyncWrite + Unpin, mut answers: mpsc::Receiver<Value>) -> io::Result<()> {
    while let Some(answer) = answers.recv().await {
        output.write_all(format!("{answer}\n").as_bytes()).await?;
        output.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_quick_answer_overtakes_a_slow_one_and_nothing_is_lost_at_the_end() {
        let call = |id: u64, name: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
        let slow = call(1, "slow", json!({"steps": 1, "delay_ms": 50}));
        let input = format!("{slow}\nnonsense\n{}\n", call(2, "echo", json!({"text": "hello"})));
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output).await.unwrap();
        let text = String::from_utf8(output).unwrap();
        let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.iter().map(|answer| answer["id"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(answers[0]["result"]["structuredContent"]["server"], format!("process {}", std::process::id()));
    }
}
