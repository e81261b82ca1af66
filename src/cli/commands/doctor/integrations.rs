//! Whether the agents' tools that are connected can reach us.
//!
//! For: a switch that turns our hooks off, and entries whose program is not there any more.
//! Not for: tools that nobody has connected; that is nobody's fault.

use std::path::{Path, PathBuf};

use super::super::init::Tool;
use super::Finding;
use crate::agents::setup::{self, Place, What, Written};

/// One finding about all of them.
pub(super) fn check() -> Finding {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_dir()) else {
        return Finding::ok("tools", "without a home there are none");
    };
    let place = Place {
        home,
        project: None,
        program: PathBuf::new(),
        db: None,
    };
    let (mut connected, mut wrong, mut mend) = (Vec::new(), Vec::new(), Vec::new());
    for tool in Tool::ALL {
        match look(tool, &place, &mut wrong, &mut mend) {
            Ok(true) => connected.push(tool.name()),
            Ok(false) => {}
            Err(e) => {
                wrong.push(e.message().to_owned());
                mend.push("mend that file".to_owned());
            }
        }
    }
    mend.dedup();
    if !wrong.is_empty() {
        return Finding::bad("tools", wrong.join("\n"), mend.join("; "));
    }
    Finding::ok(
        "tools",
        if connected.is_empty() {
            "none is connected (agenthub init does it)".to_owned()
        } else {
            format!("connected: {}", connected.join(", "))
        },
    )
}

/// Whether the tool is connected; what keeps it from us is added to `wrong`.
fn look(tool: Tool, place: &Place, wrong: &mut Vec<String>, mend: &mut Vec<String>) -> crate::error::Result<bool> {
    let off = setup::switched_off(tool.vendor(), place)?;
    let mut is_connected = false;
    for part in setup::parts(tool.vendor(), place) {
        let Some(written) = part.written("SessionStart")? else {
            continue;
        };
        is_connected = true;
        if !is_there(&written) {
            wrong.push(format!(
                "{}: {} names {}, which is not there",
                tool.name(),
                part.path.display(),
                written.program.display()
            ));
            mend.push("agenthub init puts this program there".to_owned());
        }
        if part.what == What::Hooks {
            wrong.extend(off.iter().map(|switch| format!("{}: no hooks: {switch}", tool.name())));
            mend.extend((!off.is_empty()).then(|| "remove that switch, or mail waits until an agent asks".to_owned()));
        }
    }
    Ok(is_connected)
}

/// Whether the program can be started. What only a shell can tell is believed.
fn is_there(written: &Written) -> bool {
    let program = &written.program;
    let can_start = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.display().to_string().contains(['$', '~']) {
        return true;
    }
    if program.components().count() > 1 {
        return can_start(program);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| can_start(&folder.join(program)))
}
