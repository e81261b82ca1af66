//! The default name of an agent: its tool and the start or end of its session's id.

/// Returns the name of the agent in `session` of the tool with this id.
pub fn of_session(tool: &str, session: &str) -> String {
    format!("{tool}-{}", short_id(session))
}

/// Returns eight characters of a session's id: the last eight of a UUID of version 7, whose first
/// eight are a time and the same for a minute, and of an id with a prefix such as `ses_`, which often begins with a
/// time; the first eight of any other id.
fn short_id(session: &str) -> &str {
    let parts: Vec<&str> = session.split('-').collect();
    let is_uuid7 = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) && parts[2].starts_with('7');
    let has_prefix = session
        .split_once('_')
        .is_some_and(|(prefix, rest)| prefix.chars().all(|c| c.is_ascii_lowercase()) && rest.len() > 8);
    let mut starts = session.char_indices().map(|(at, _)| at);
    if is_uuid7 || has_prefix {
        let at = starts.nth_back(7).unwrap_or(0);
        return &session[at..];
    }
    let end = starts.nth(8).unwrap_or(session.len());
    &session[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_the_same_minute_have_different_names() {
        for (session, name) in [
            ("019ab3c4-0001-7d50-8000-00000000000a", "codex-0000000a"),
            ("019ab3c4-9999-7d50-8000-00000000000b", "codex-0000000b"),
            ("0f6c1c1e-0001-4d50-8000-00000000000a", "codex-0f6c1c1e"),
            ("ses_dd5d8d90affegkb9W3ennG7ukr", "codex-ennG7ukr"),
            ("ses_dd5d8d90", "codex-ses_dd5d"),
            ("s", "codex-s"),
            ("ünïcode-ünïcode", "codex-ünïcode-"),
            ("éééé-9999-7d50-8000-000000üüü", "codex-00000üüü"),
        ] {
            assert_eq!(of_session("codex", session), name);
        }
    }
}
