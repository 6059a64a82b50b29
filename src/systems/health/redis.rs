//! Redis in its own protocol (RESP): as much of it as two questions take.

use crate::resource::{Bytes, Health};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest wait for all answers together.
const ASK: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LIMIT: u64 = 64 << 10;

pub(super) async fn ask(port: u16, maxmemory: Option<Bytes>) -> Health {
    match tokio::time::timeout(ASK, converse(port, maxmemory)).await {
        Ok(Ok(health)) => health,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Health::Unreachable { why: "nobody listens on its port yet".to_owned() }
        }
        Ok(Err(error)) => Health::Unreachable { why: error.to_string() },
        Err(_) => Health::Unreachable { why: "it does not answer in time".to_owned() },
    }
}

async fn converse(port: u16, maxmemory: Option<Bytes>) -> std::io::Result<Health> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"PING\r\n").await?;
    let pong = line(&mut stream).await?;
    if pong.starts_with("-LOADING") {
        return Ok(Health::Loading { why: "it reads its data from disk".to_owned() });
    }
    if pong != "+PONG" {
        return Ok(Health::Unhealthy { why: format!("it answers PING with {pong}") });
    }
    let Some(wanted) = maxmemory else { return Ok(Health::Healthy) };
    stream.write_all(b"CONFIG GET maxmemory\r\n").await?;
    // An array of two bulk strings, or an error where CONFIG is not allowed, which says nothing of its health.
    let mut answer = Vec::new();
    for _ in 0..5 {
        let line = line(&mut stream).await?;
        if line.starts_with('-') {
            return Ok(Health::Healthy);
        }
        answer.push(line);
    }
    let found = answer.last().and_then(|value| value.parse().ok()).map(Bytes);
    if found == Some(wanted) {
        return Ok(Health::Healthy);
    }
    let found = found.map_or_else(|| "unknown".to_owned(), |bytes| bytes.to_string());
    Ok(Health::Unhealthy { why: format!("its maxmemory is {found} and not {wanted}") })
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    stream.take(LIMIT).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
