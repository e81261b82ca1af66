//! WebSocket clients: one that parses events, and a cheap one that only counts messages.

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::hub::Hub;
use super::writer::clock;

/// Creates a runtime for the clients.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn subscribe(thread: &str) -> Value {
    json!({"type": "subscribe", "data": {"thread_id": thread, "from_seq": 0}})
}

/// A client of AILANG's protocol that parses each event.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub(crate) async fn connect(hub: &Hub) -> Result<Self> {
        let address = format!("ws://{}/ws?token={}", hub.address, hub.token);
        let (socket, _) = connect_async(address.into_client_request()?).await?;
        Ok(Self { socket })
    }

    /// Subscribes to a thread from its first message and reads the first batch.
    pub(crate) async fn follow(&mut self, thread: &str) -> Result<()> {
        self.send(&subscribe(thread)).await?;
        self.event().await?;
        Ok(())
    }

    pub(crate) async fn send(&mut self, event: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(event.to_string())).await?)
    }

    /// Returns the next event and the time of its arrival.
    pub(crate) async fn event(&mut self) -> Result<(Value, i64)> {
        let text = self.text().await?;
        let at = clock();
        Ok((serde_json::from_str(&text)?, at))
    }

    /// Returns the text of the next text frame.
    pub(crate) async fn text(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.context("the hub closed the connection")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the hub closed: {frame:?}"),
                _ => {}
            }
        }
    }
}

/// A client that reads only the type of each frame and the numbers of its messages, so that many fit into one process.
pub(crate) struct Counter {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// `message_seq` of the last message.
    pub(crate) last: u64,
    /// Text frames that carried messages.
    pub(crate) frames: u64,
}

impl Counter {
    /// Connects and subscribes to a thread from its first message.
    pub(crate) async fn follow(hub: &Hub, thread: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(&hub.address).await?;
        let request = format!(
            "GET /ws?token={} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YmVuY2htYXJrc2JlbmNoMQ==\r\n\r\n",
            hub.token, hub.address
        );
        stream.write_all(request.as_bytes()).await?;
        let mut counter = Self {
            stream,
            buffer: Vec::with_capacity(256 << 10),
            last: 0,
            frames: 0,
        };
        let end = loop {
            if let Some(end) = find(&counter.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            counter.fill().await?;
        };
        ensure!(counter.buffer.starts_with(b"HTTP/1.1 101"), "the upgrade failed");
        counter.buffer.drain(..end);
        let event = subscribe(thread).to_string();
        let mut frame = vec![0x81, 0x80 | u8::try_from(event.len())?, 0, 0, 0, 0];
        // A masking key of zeros is valid and leaves the payload unchanged.
        frame.extend_from_slice(event.as_bytes());
        counter.stream.write_all(&frame).await?;
        Ok(counter)
    }

    /// Reads until the message with `message_seq` `last` has arrived.
    pub(crate) async fn until(&mut self, last: u64) -> Result<()> {
        loop {
            self.take_frames()?;
            if self.last >= last {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        ensure!(
            self.stream.read_buf(&mut self.buffer).await? > 0,
            "the hub closed the connection"
        );
        Ok(())
    }

    /// Consumes the complete frames in the buffer (RFC 6455 §5.2; a server does not mask its frames).
    fn take_frames(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some(&[kind, short]) = self.buffer.get(at..at + 2) {
            let (head, length) = match short {
                126 => match self.buffer.get(at + 2..at + 4) {
                    Some(bytes) => (4, usize::from(u16::from_be_bytes(bytes.try_into()?))),
                    None => break,
                },
                127 => match self.buffer.get(at + 2..at + 10) {
                    Some(bytes) => (10, usize::try_from(u64::from_be_bytes(bytes.try_into()?))?),
                    None => break,
                },
                short => (2, usize::from(short)),
            };
            let Some(payload) = self.buffer.get(at + head..at + head + length) else {
                break;
            };
            ensure!(kind != 0x88, "the hub closed: {}", String::from_utf8_lossy(payload));
            if let Some(number) = last_number(payload) {
                ensure!(number > self.last, "{number} after {}", self.last);
                self.last = number;
                self.frames += 1;
            }
            at += head + length;
        }
        self.buffer.drain(..at);
        Ok(())
    }
}

/// Returns the `message_seq` of the last message in a frame.
fn last_number(payload: &[u8]) -> Option<u64> {
    if !payload.starts_with(b"{\"type\":\"message\"") && !payload.starts_with(b"{\"type\":\"batch\"") {
        return None;
    }
    let name = b"\"message_seq\":";
    // Search from the end: the field follows the content of the message.
    let at = payload.windows(name.len()).rposition(|window| window == name)? + name.len();
    let digits = payload[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
