//! An agent in Rust: posts a message to a thread, then reads and acknowledges its unread messages.

use std::io::{Write, stdout};

use agenthub::config::db_path;
use agenthub::protocol::now_ms;
use agenthub::store::{InboxFilter, NetworkFs, NewMessage, ReadContext, Writer};

fn main() -> anyhow::Result<()> {
    let given = std::env::var_os("AGENTHUB_DB").map(std::path::PathBuf::from);
    let file = Writer::open(&db_path(given.as_deref())?, NetworkFs::Refuse)?;
    file.post_message(&NewMessage::new("build", "rust-agent", "tests are green"))?;
    let unread = InboxFilter {
        inbox: Some("rust-agent".to_owned()),
        status: Some("unread".to_owned()),
        now: now_ms(),
        limit: 10,
        ..InboxFilter::default()
    };
    for mail in file.inbox(&unread)? {
        writeln!(stdout(), "{}: {}", mail.from_agent, mail.payload)?;
        let reading = ReadContext {
            reader: "rust-agent",
            via: "rust",
            now: now_ms(),
        };
        file.ack_mail(&mail.message_id, reading)?;
    }
    Ok(())
}
