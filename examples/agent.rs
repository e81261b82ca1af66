//! An agent in Rust: posts a message to a thread, then reads and acknowledges its unread messages.

use std::io::{Write, stdout};

use agenthub::config::db_path;
use agenthub::protocol::now_ms;
use agenthub::store::{InboxFilter, NetworkFs, NewMessage, ReadContext, Writer};

fn main() -> anyhow::Result<()> {
    let path = std::env::var_os("AGENTHUB_DB").map(std::path::PathBuf::from);
    let db = Writer::open(&db_path(path.as_deref())?, NetworkFs::Refuse)?;
    db.post_message(&NewMessage::new("build", "rust-agent", "tests are green"))?;
    let unread = InboxFilter {
        inbox: Some("rust-agent".to_owned()),
        status: Some("unread".to_owned()),
        now: now_ms(),
        limit: 10,
        ..InboxFilter::default()
    };
    for mail in db.inbox(&unread)? {
        writeln!(stdout(), "{}: {}", mail.from_agent, mail.payload)?;
        let context = ReadContext {
            reader: "rust-agent",
            via: "rust",
            now: now_ms(),
        };
        db.ack_mail(&mail.message_id, context)?;
    }
    Ok(())
}
