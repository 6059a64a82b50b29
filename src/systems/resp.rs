//! The protocol of Redis, as far as a health check needs it: two commands, and no client library for them.

use crate::resource::{Bytes, Health, RespProbe};
use std::io;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const LONGEST_LINE: u64 = 64 << 10;

/// Asks whether the server on a loopback port answers, and has the sizes in force that it must have.
pub(super) async fn ask(probe: &RespProbe) -> Health {
    of_connection(converse(probe).await)
}

fn of_connection(asked: io::Result<Health>) -> Health {
    match asked {
        Ok(health) => health,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Health::unreachable("connection refused"),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Health::unhealthy(error.to_string()),
        Err(error) => Health::unreachable(error.to_string()),
    }
}

/// Asks a server that others run whether it answers; `password` is sent first. Over TLS only the connection is
/// tried.
pub(super) async fn ping(host: &str, port: u16, tls: bool, password: Option<&str>) -> Health {
    let asked = async {
        let stream = TcpStream::connect((host, port)).await?;
        if tls {
            return Ok(Health::Healthy);
        }
        let mut stream = BufReader::new(stream);
        if let Some(password) = password {
            match command(&mut stream, &["AUTH", password]).await? {
                Reply::Argv(words) if words == ["OK"] => {}
                Reply::Error(text) => return Ok(Health::unhealthy(format!("it does not accept the password: {text}"))),
                reply @ Reply::Argv(_) => return Ok(reply.judge("AUTH")),
            }
        }
        Ok(match command(&mut stream, &["PING"]).await? {
            Reply::Argv(words) if words == ["PONG"] => Health::Healthy,
            reply => reply.judge("PING"),
        })
    };
    of_connection(asked.await)
}

async fn converse(probe: &RespProbe) -> io::Result<Health> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", probe.port)).await?);
    match command(&mut stream, &["PING"]).await? {
        Reply::Argv(words) if words == ["PONG"] => {}
        reply => return Ok(reply.judge("PING")),
    }
    for (name, declared) in &probe.sizes {
        let asked = format!("CONFIG GET {name}");
        let reply = command(&mut stream, &["CONFIG", "GET", name]).await?;
        let Reply::Argv(words) = &reply else { return Ok(reply.judge(&asked)) };
        match words.get(1).and_then(|value| value.parse().ok()).map(Bytes) {
            Some(size) if size == *declared => {}
            Some(size) => return Ok(Health::unhealthy(format!("its {name} is {size} and not {declared}"))),
            None => return Ok(reply.judge(&asked)),
        }
    }
    Ok(Health::Healthy)
}

enum Reply {
    Argv(Vec<String>),
    Error(String),
}

impl Reply {
    fn judge(self, command: &str) -> Health {
        match self {
            Self::Error(text) if text.starts_with("LOADING") => Health::loading("the data set is loading"),
            Self::Error(text) if text.starts_with("NOAUTH") => Health::unhealthy("it asks for a password"),
            Self::Error(text) => Health::unhealthy(format!("{command} is refused: {text}")),
            Self::Argv(words) => Health::unhealthy(format!("{command} answers `{}`", words.join(" "))),
        }
    }
}

async fn command(stream: &mut BufReader<TcpStream>, words: &[&str]) -> io::Result<Reply> {
    let arguments = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let request = format!("*{}\r\n{}", words.len(), arguments.collect::<String>());
    stream.write_all(request.as_bytes()).await?;
    let first = line(stream).await?;
    let (sign, rest) = first.split_at_checked(1).ok_or_else(not_redis)?;
    match sign {
        "-" => Ok(Reply::Error(rest.to_owned())),
        "*" => {
            let count: usize = rest.parse().ok().filter(|count| *count <= 16).ok_or_else(not_redis)?;
            let mut words = Vec::new();
            for _ in 0..count {
                let head = line(stream).await?;
                words.push(if head.starts_with('$') { line(stream).await? } else { head });
            }
            Ok(Reply::Argv(words))
        }
        "+" => Ok(Reply::Argv(vec![rest.to_owned()])),
        _ => Err(not_redis()),
    }
}

/// Reads one line. The two commands have no value with a line break in it, so that lines are all there is to read.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(LONGEST_LINE).read_until(b'\n', &mut bytes).await?;
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without an answer"));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_redis())?;
    text.strip_suffix("\r\n").map(str::to_owned).ok_or_else(not_redis)
}

fn not_redis() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what answers there is not Redis")
}
