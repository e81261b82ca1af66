//! The crate as a program uses it that was written for the seed's package: a server in the
//! same process, and functions that broadcast.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use agenthub::protocol::{InboxMessageEvent, MessageEvent, TaskStreamEvent, TaskStreamEventType, TelemetryEvent};
use agenthub::server::{Server, bind};
use agenthub::store::{NetworkFs, Store, Token};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::support::writer::sqlite3;
use crate::support::{Client, gate, within};

/// A server in this process, stopped and waited for when dropped.
struct Inside {
    server: Arc<Server>,
    port: u16,
    runtime: Arc<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
    _pass: gate::Pass,
}

impl Inside {
    fn start() -> Self {
        let pass = gate::shared();
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
            _pass: pass,
        }
    }

    fn db(&self) -> std::path::PathBuf {
        self.folder.path().join("hub.db")
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Without it a program that used the seed's package could not be brought over.
#[test]
fn the_seeds_functions_do_what_they_say() {
    let inside = Inside::start();
    let token = Token::of(&inside.db()).unwrap();
    let mut client = Client::connect(inside.port, token.secret(), "");
    client.assert_alive();
    assert_eq!(inside.server.connection_count(), 1);
    client.subscribe("t", 0);
    client.expect("batch");

    let message = MessageEvent {
        thread_id: "t".into(),
        from_id: "planner".into(),
        kind: "question".into(),
        content: "which?".into(),
        ..MessageEvent::default()
    };
    let row = inside
        .runtime
        .block_on(inside.server.broadcast_message(&message))
        .unwrap();
    assert_eq!((row.message_seq, row.from_type.as_str()), (1, "agent"));
    let heard = client.expect("message");
    assert_eq!(
        (heard.text("id"), heard.text("kind"), heard.text("content")),
        (row.id.as_str(), "question", "which?")
    );

    let mail = InboxMessageEvent {
        from_agent: "planner".into(),
        to_inbox: "human".into(),
        title: "T".into(),
        payload: "P".into(),
        message_type: "approval_request".into(),
        ..InboxMessageEvent::default()
    };
    let row = inside
        .runtime
        .block_on(inside.server.broadcast_inbox_message(&mail))
        .unwrap();
    let heard = client.expect("inbox_message");
    assert_eq!(
        (heard.text("message_id"), heard.text("message_type")),
        (row.message_id.as_str(), "approval_request")
    );

    let task = TaskStreamEvent {
        task_id: "k".into(),
        stream_type: TaskStreamEventType::TOOL_USE,
        tool_name: "bash".into(),
        turn_num: 2,
        ..TaskStreamEvent::default()
    };
    inside
        .runtime
        .block_on(inside.server.broadcast_task_event(&task))
        .unwrap();
    let heard = client.expect("task_stream");
    assert_eq!(
        heard.data,
        json!({"task_id": "k", "stream_type": "tool_use", "tool_name": "bash", "turn_num": 2})
    );

    let telemetry = TelemetryEvent {
        instance_id: "i".into(),
        turns: 3,
        cost: 0.5,
        status: "completed".into(),
        ..TelemetryEvent::default()
    };
    inside
        .runtime
        .block_on(inside.server.broadcast_telemetry(&telemetry))
        .unwrap();
    let heard = client.expect("telemetry");
    assert_eq!((heard.text("status"), heard.number("turns")), ("completed", 3));

    // What was broadcast is in the file, like everything.
    assert_eq!(
        sqlite3(
            &inside.db(),
            "SELECT group_concat(tbl, ' ') FROM (SELECT DISTINCT tbl FROM changes ORDER BY 1)"
        ),
        "agents inbox_messages messages task_stream telemetry threads"
    );
    // What the file refuses is an error, not a broadcast.
    let refused = inside
        .runtime
        .block_on(inside.server.broadcast_message(&MessageEvent::default()));
    assert_eq!(refused.unwrap_err().code(), agenthub::error::Code::Invalid);
    client.assert_alive();

    // Another token from now on; who is in stays in.
    inside.server.set_token("another token of the owner's choosing");
    assert!(matches!(
        Client::try_connect(inside.port, token.secret(), ""),
        Err(Some((401, _)))
    ));
    Client::connect(inside.port, "another token of the owner's choosing", "").assert_alive();
    client.assert_alive();
    within("the count of connections", || {
        (inside.server.connection_count() == 1).then_some(())
    });
}

/// Without it the WebSocket could not be part of a server that has other routes too.
#[test]
fn the_websocket_is_a_filter_of_its_own() {
    let inside = Inside::start();
    let routes = inside.server.websocket();
    let (tx, rx) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = Arc::clone(&inside.runtime);
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
            &inside.db(),
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
