//! The crate as a library: a program that embeds the server, as programs written for AILANG's package do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use agenthub::error::{Code, Result};
use agenthub::protocol::TaskStreamEventType;
use agenthub::server::{Server, bind};
use agenthub::store::{NetworkFs, NewInboxMessage, NewMessage, NewTaskEvent, NewTelemetry, SecretFile, Store};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::writer::sqlite3;
use crate::support::{Client, wait_for};

/// A server in this process. Dropping it stops the server and waits for its end.
struct EmbeddedServer {
    server: Arc<Server>,
    port: u16,
    runtime: Arc<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl EmbeddedServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("hub.db");
        let store = Store::open(&db, NetworkFs::Refuse).unwrap();
        let runtime = Arc::new(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
        );
        let server = Server::new(store).unwrap();
        let listeners = runtime.block_on(bind(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (stop, stopped) = oneshot::channel();
        let (running, on) = (Arc::clone(&server), Arc::clone(&runtime));
        let thread = std::thread::spawn(move || {
            let shutdown = async move { drop(stopped.await) };
            on.block_on(running.run(listeners, shutdown)).unwrap();
        });
        Self {
            server,
            port,
            runtime,
            stop: Some(stop),
            thread: Some(thread),
            folder,
        }
    }

    fn db(&self) -> std::path::PathBuf {
        self.folder.path().join("hub.db")
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(call)
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Each function of AILANG's package has a counterpart here.
#[test]
fn library_functions_write_rows_that_clients_receive() {
    let embedded = EmbeddedServer::start();
    let server = &embedded.server;
    let token = SecretFile::Token.load_or_create(&embedded.db()).unwrap();
    let mut client = Client::connect(embedded.port, token.text(), "");
    client.assert_alive();
    assert_eq!(server.connection_count(), 1);
    client.subscribe("t", 0);
    client.expect("batch");

    let message = NewMessage {
        kind: Some("question".into()),
        ..NewMessage::new("t", "planner", "which?")
    };
    let row = embedded.wait(server.broadcast_message(message)).unwrap();
    assert_eq!((row.message_seq, row.from_type.as_str()), (1, "agent"));
    let received = client.expect("message");
    assert_eq!(
        (received.text("id"), received.text("kind"), received.text("content")),
        (row.id.as_str(), "question", "which?")
    );

    let mail = NewInboxMessage {
        title: Some("T".into()),
        message_type: Some("approval_request".into()),
        ..NewInboxMessage::new("planner", "human", "P")
    };
    let row = embedded.wait(server.broadcast_inbox_message(mail)).unwrap();
    let received = client.expect("inbox_message");
    assert_eq!(
        (received.text("message_id"), received.text("message_type")),
        (row.message_id.as_str(), "approval_request")
    );

    let task = NewTaskEvent {
        task_id: "k".into(),
        stream_type: TaskStreamEventType::TOOL_USE,
        tool_name: "bash".into(),
        turn_num: 2,
        ..NewTaskEvent::default()
    };
    embedded.wait(server.broadcast_task_event(task)).unwrap();
    let received = client.expect("task_stream");
    assert_eq!(
        received.data,
        json!({"task_id": "k", "stream_type": "tool_use", "tool_name": "bash", "turn_num": 2})
    );

    let telemetry = NewTelemetry {
        instance_id: "i".into(),
        turns: Some(3),
        cost: Some(0.5),
        status: Some("completed".into()),
        ..NewTelemetry::default()
    };
    embedded.wait(server.broadcast_telemetry(telemetry)).unwrap();
    let received = client.expect("telemetry");
    assert_eq!((received.text("status"), received.number("turns")), ("completed", 3));

    // Every call has written to the database.
    assert_eq!(
        sqlite3(
            &embedded.db(),
            "SELECT group_concat(tbl, ' ') FROM (SELECT DISTINCT tbl FROM changes ORDER BY 1)"
        ),
        "agents inbox_messages messages task_stream telemetry threads"
    );
    // A row that the database refuses is an error, and no client receives it.
    let refused = embedded.wait(server.broadcast_message(NewMessage::default()));
    assert_eq!(refused.unwrap_err().code(), Code::Invalid);
    client.assert_alive();

    // A new token applies to new connections; open ones stay open.
    server.set_token("another token of the owner's choosing");
    assert!(matches!(
        Client::try_connect(embedded.port, token.text(), ""),
        Err(Some((401, _)))
    ));
    Client::connect(embedded.port, "another token of the owner's choosing", "").assert_alive();
    client.assert_alive();
    wait_for("the count of connections", || {
        (server.connection_count() == 1).then_some(())
    });
}

/// A warp server with routes of its own can contain the WebSocket.
#[test]
fn websocket_filter_can_be_embedded_in_another_server() {
    let embedded = EmbeddedServer::start();
    let routes = embedded.server.websocket();
    let (tx, rx) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = Arc::clone(&embedded.runtime);
    let thread = std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tx.send(listener.local_addr().unwrap().port()).unwrap();
            let server = warp::serve(routes)
                .incoming(listener)
                .graceful(async move { drop(stopped.await) });
            server.run().await;
        });
    });
    let port = rx.recv().unwrap();
    let connected = Client::connect_with_headers(port, "", &[]);
    if let Ok((mut client, _)) = connected {
        client.assert_alive();
        client.subscribe("t", 0);
        client.expect("batch");
        sqlite3(
            &embedded.db(),
            "INSERT INTO messages(thread_id, from_id) VALUES('t', 'a')",
        );
        assert_eq!(client.expect("message").seqs(), [1]);
        drop(client);
    } else {
        panic!("no WebSocket: {:?}", connected.err());
    }
    drop(stop);
    thread.join().unwrap();
}
