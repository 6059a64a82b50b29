//! Clients that ask a gateway all the time and count what goes wrong. Nothing is ever tried again.
//!
//! They speak HTTP/1.1 by themselves: the usual clients try again in silence when a kept connection turns out to be
//! closed, and that is what is to be counted.

use crate::fakes::upstream::said;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The longest wait for the whole of an answer.
const DEADLINE: Duration = Duration::from_secs(40);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clients {
    /// Those that open a connection for every request.
    pub(super) fresh: u64,
    /// Those that keep theirs.
    pub(super) kept: u64,
    /// Those that listen to long streams, and keep their connection too.
    pub(super) streaming: u64,
    /// What each waits between two requests.
    pub(super) thinks: Duration,
}

/// The server that is asked.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) model: String,
}

/// An answer, once it is whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
    /// When its first byte came.
    first_byte: Instant,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(super) enum Recovered {
    /// Nothing of it came.
    Failed(String),
    /// It began, and was cut.
    Cut(String),
}

/// What was counted.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) failures: Vec<String>,
    pub(super) cut: Vec<String>,
    pub(super) slowest_first_byte: Duration,
    pub(super) longest_pause: Duration,
    /// How many whole answers each generation gave.
    pub(super) generations: BTreeMap<String, u64>,
    last_success: Instant,
}

impl Tally {
    fn new() -> Self {
        Self {
            requests: 0,
            failures: vec![],
            cut: vec![],
            slowest_first_byte: Duration::ZERO,
            longest_pause: Duration::ZERO,
            generations: BTreeMap::new(),
            last_success: Instant::now(),
        }
    }

    /// Counts one request that began at `begin`; a whole answer is right when `wrong` finds nothing.
    fn count(
        &mut self,
        begin: Instant,
        outcome: &Result<Answer, Recovered>,
        wrong: impl Fn(&Answer) -> Option<String>,
    ) {
        self.requests += 1;
        let now = Instant::now();
        match outcome {
            Ok(answer) => {
                self.slowest_first_byte = self.slowest_first_byte.max(answer.first_byte.duration_since(begin));
                if answer.status != 200 {
                    self.failures.push(format!("{}: {}", answer.status, answer.body));
                } else if let Some(why) = wrong(answer) {
                    self.cut.push(why);
                } else {
                    self.longest_pause = self.longest_pause.max(now.duration_since(self.last_success));
                    self.last_success = now;
                    *self.generations.entry(answer.header("x-llamero-generation").to_owned()).or_default() += 1;
                }
            }
            Err(Recovered::Failed(why)) => self.failures.push(why.clone()),
            Err(Recovered::Cut(why)) => self.cut.push(why.clone()),
        }
    }

    fn ended(mut self) -> Self {
        self.longest_pause = self.longest_pause.max(self.last_success.elapsed());
        self
    }
}

impl fmt::Display for Tally {
    /// Writes a row of a table: requests, failures, cut, slowest first byte, longest pause.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failures, cut) = (self.failures.len(), self.cut.len());
        let (first, pause) = (self.slowest_first_byte.as_secs_f64(), self.longest_pause.as_secs_f64());
        write!(f, "| {} | {failures} | {cut} | {first:.2} s | {pause:.2} s |", self.requests)
    }
}

/// Clients at work.
pub(super) struct Load {
    clients: JoinSet<()>,
    ends: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

impl Load {
    pub(super) fn start(target: &Target, clients: Clients) -> Self {
        let mut load =
            Self { clients: JoinSet::new(), ends: Arc::default(), tally: Arc::new(Mutex::new(Tally::new())) };
        let Clients { fresh, kept, streaming, thinks } = clients;
        for number in 0..fresh + kept + streaming {
            let (keeps, streams) = (number >= fresh, number >= fresh + kept);
            let (target, ends, tally) = (target.clone(), Arc::clone(&load.ends), Arc::clone(&load.tally));
            load.clients.spawn(async move {
                let mut connection = None;
                let mut reconcile = number;
                while !ends.load(Ordering::Relaxed) {
                    // Streams of 3 to 6 seconds at the upstream's pace.
                    let words = if streams { 12 + reconcile * 5 % 13 } else { 2 };
                    reconcile += 1;
                    let request = completion(&target, words, streams);
                    let begin = Instant::now();
                    let outcome = ask_on(&mut connection, target.port, &request, keeps).await;
                    let wrong = |answer: &Answer| wrong(answer, words, streams);
                    tally.lock().expect("no panic").count(begin, &outcome, wrong);
                    tokio::time::sleep(thinks).await;
                }
            });
        }
        load
    }

    /// Lets every client finish what it is at, and returns what was counted.
    pub(super) async fn end(mut self) -> Tally {
        self.ends.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client that counts");
        }
        self.tally.lock().expect("no panic").clone().ended()
    }
}

/// Returns what is wrong with an answer of status 200.
fn wrong(answer: &Answer, words: u64, streams: bool) -> Option<String> {
    let whole = if streams {
        if !answer.body.trim_end().ends_with("data: [DONE]") {
            return Some(format!("a stream ends without `[DONE]`: {}", answer.body));
        }
        let events = answer.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let events = events.filter_map(|event| serde_json::from_str::<Value>(event).ok());
        events.filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
    } else {
        let value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        value["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
    };
    (whole.trim() != said(words).trim()).then(|| format!("{words} words became `{whole}`"))
}

fn completion(target: &Target, words: u64, streams: bool) -> String {
    let messages = json!([{ "role": "user", "content": "speak" }]);
    let body = json!({ "model": target.model, "max_tokens": words, "stream": streams, "messages": messages });
    request("POST /v1/chat/completions", &target.key, &body.to_string())
}

/// Returns the text of a request.
pub(super) fn request(what: &str, key: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Asks on the connection that is kept, or on a new one; keeps it only where both sides want that.
pub(super) async fn ask_on(
    connection: &mut Option<BufStream<TcpStream>>,
    port: u16,
    request: &str,
    keeps: bool,
) -> Result<Answer, Recovered> {
    let is_open = |stream: &BufStream<TcpStream>| {
        let read = stream.get_ref().try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let attempt = async {
        // As every client does: a connection that the server has closed meanwhile is not used.
        let mut stream = match connection.take().filter(is_open) {
            Some(stream) => stream,
            None => BufStream::new(TcpStream::connect(("127.0.0.1", port)).await.map_err(failed("connect"))?),
        };
        let answer = ask(&mut stream, request).await?;
        if keeps && answer.header("connection") != "close" {
            *connection = Some(stream);
        }
        Ok(answer)
    };
    let late = || Recovered::Failed(format!("no whole answer within {DEADLINE:?}"));
    tokio::time::timeout(DEADLINE, attempt).await.unwrap_or_else(|_| Err(late()))
}

/// Asks once on a connection, and reads the answer to its end.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    request: &str,
) -> Result<Answer, Recovered> {
    stream.write_all(request.as_bytes()).await.map_err(failed("send"))?;
    stream.flush().await.map_err(failed("send"))?;
    if stream.fill_buf().await.map_err(failed("receive"))?.is_empty() {
        return Err(Recovered::Failed("the connection was closed before an answer".to_owned()));
    }
    let first_byte = Instant::now();
    let first = line(stream).await?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| Recovered::Failed(format!("`{first}` is no status line")))?;
    let mut headers = BTreeMap::new();
    loop {
        let header = line(stream).await?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let mut body = vec![];
    if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        loop {
            let size = line(stream).await?;
            let size = usize::from_str_radix(&size, 16).map_err(|_| Recovered::Cut(format!("`{size}` is no size")))?;
            exactly(stream, size, &mut body).await?;
            line(stream).await?;
            if size == 0 {
                break;
            }
        }
    } else {
        let size = headers.get("content-length").and_then(|length| length.parse().ok());
        exactly(stream, size.unwrap_or(0), &mut body).await?;
    }
    Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned(), first_byte })
}

async fn line<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufStream<S>) -> Result<String, Recovered> {
    let mut line = String::new();
    stream.read_line(&mut line).await.map_err(|error| Recovered::Cut(format!("in the middle: {error}")))?;
    let whole = line.strip_suffix("\r\n").map(str::to_owned);
    whole.ok_or_else(|| Recovered::Cut(format!("the answer ends after `{line}`")))
}

async fn exactly<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufStream<S>,
    size: usize,
    body: &mut Vec<u8>,
) -> Result<(), Recovered> {
    let start = body.len();
    body.resize(start + size, 0);
    let read = stream.read_exact(&mut body[start..]).await;
    read.map(drop).map_err(|error| Recovered::Cut(format!("in the middle of the body: {error}")))
}

fn failed(operation: &'static str) -> impl FnOnce(std::io::Error) -> Recovered {
    move |error| Recovered::Failed(format!("{operation}: {error}"))
}
