//! The part of a prompt that is shown as a task's title.

/// Returns the part of `prompt` that says what the task is. A tool puts its own text, in one of its `tags`, before
/// the user's, or wakes the model with such a text alone; then its summary is the title.
pub(super) fn title<'p>(tags: &[&str], prompt: &'p str) -> &'p str {
    let mut rest = prompt.trim();
    while let Some((content, after)) = leading_element(tags, rest) {
        if let Some(summary) = summary(content) {
            return summary;
        }
        rest = after.trim_start();
    }
    if rest.is_empty() { prompt } else { rest }
}

/// Returns the content of the element that `text` begins with, and the text after it.
fn leading_element<'p>(tags: &[&str], text: &'p str) -> Option<(&'p str, &'p str)> {
    let inner = text.strip_prefix('<')?;
    tags.iter().find_map(|tag| {
        let content = inner.strip_prefix(tag)?;
        // Attributes may follow the tag's name.
        let end_of_tag = content.find('>')?;
        if !(end_of_tag == 0 || content.starts_with(char::is_whitespace)) {
            return None;
        }
        content[end_of_tag + 1..].split_once(&format!("</{tag}>"))
    })
}

fn summary(content: &str) -> Option<&str> {
    let (_, rest) = content.split_once("<summary>")?;
    let (summary, _) = rest.split_once("</summary>")?;
    Some(summary.trim()).filter(|summary| !summary.is_empty())
}

#[cfg(test)]
mod tests {
    use super::title;

    #[test]
    fn title_is_the_summary_or_the_text_of_the_user() {
        let tags = ["task-notification", "hook_context", "skill"];
        for (prompt, shown) in [
            ("fix the tests", "fix the tests"),
            (
                "<task-notification>\n<task-id>b1</task-id>\n<summary>Build finished</summary>\n</task-notification>",
                "Build finished",
            ),
            (
                "<hook_context>you are a</hook_context>\n\ncount the files",
                "count the files",
            ),
            (
                "<hook_context kind=\"x\">a</hook_context> <hook_context>b</hook_context> go",
                "go",
            ),
            (
                "<hook_context>only this</hook_context>",
                "<hook_context>only this</hook_context>",
            ),
            (
                "<skills>not a tag of the tool</skills>",
                "<skills>not a tag of the tool</skills>",
            ),
            ("<task-notification>never closed", "<task-notification>never closed"),
            ("explain <summary>this</summary>", "explain <summary>this</summary>"),
            ("", ""),
        ] {
            assert_eq!(title(&tags, prompt), shown, "{prompt}");
        }
    }
}
