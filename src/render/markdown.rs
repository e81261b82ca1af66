//! Markdown (`CommonMark` with tables, task lists and strikethrough) as a tree. HTML stays text.

use std::mem::take;

use linkify::{LinkFinder, LinkKind};
use pulldown_cmark::{self as cmark, CodeBlockKind, Event, LinkType, Options, Parser, Tag};

use super::budget::{Budget, MAX_DEPTH};
use super::tree::{Alignment, Block, Inline, ListItem, PlainReason};
use super::{clean, diff, highlight, terminal};

/// Schemes of links. All others, and relative addresses, are text.
const SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];
const IMAGE_TYPES: [&str; 4] = ["png", "jpeg", "gif", "webp"];

/// Renders Markdown.
pub(super) fn render(text: &str, budget: &mut Budget) -> Result<Vec<Block>, PlainReason> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH;
    let mut builder = Builder::default();
    for event in Parser::new_ext(text, options) {
        budget.take()?;
        builder.event(event, budget)?;
    }
    // The parser ends every tag that it starts.
    builder.root.flush(true, budget)?;
    Ok(builder.root.blocks)
}

/// What a frame becomes when its tag ends.
enum Kind {
    Paragraph,
    Heading(u8),
    Quote,
    List(Option<u64>),
    Item(Option<bool>),
    Code(String),
    Table(Vec<Alignment>),
    Row,
    Cell,
    Strong,
    Emphasis,
    Strike,
    Link(String),
    Image(String),
}

/// The content of a tag that has not ended.
#[derive(Default)]
struct Content {
    blocks: Vec<Block>,
    /// Follow `blocks`, and become a paragraph before the next block.
    inlines: Vec<Inline>,
    items: Vec<ListItem>,
    rows: Vec<Vec<Vec<Inline>>>,
    cells: Vec<Vec<Inline>>,
}

impl Content {
    /// Adds text. The parser splits a text at each character that could have a meaning.
    fn push_text(&mut self, text: &str) {
        match self.inlines.last_mut() {
            Some(Inline::Text { text: last }) => last.push_str(text),
            _ => self.inlines.push(Inline::Text { text: text.to_owned() }),
        }
    }

    /// Makes a paragraph of the inlines.
    fn flush(&mut self, may_link: bool, budget: &mut Budget) -> Result<(), PlainReason> {
        let children = finished(take(&mut self.inlines), may_link, budget)?;
        if !children.is_empty() {
            self.blocks.push(Block::Paragraph { children });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Builder {
    root: Content,
    stack: Vec<(Kind, Content)>,
    /// Number of open tags that have no frame because they are nested too deeply.
    skipped: usize,
    /// Number of links around the current position.
    links: usize,
}

impl Builder {
    fn top(&mut self) -> &mut Content {
        self.stack.last_mut().map_or(&mut self.root, |(_, content)| content)
    }

    fn event(&mut self, event: Event<'_>, budget: &mut Budget) -> Result<(), PlainReason> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) => return self.end(budget),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                let text = clean(&text);
                self.top().inlines.push(Inline::Code { text });
            }
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) | Event::FootnoteReference(text) => {
                self.top().push_text(&text);
            }
            Event::SoftBreak | Event::HardBreak => self.top().inlines.push(Inline::Break),
            Event::Rule => return self.push_block(Block::Rule, budget),
            Event::TaskListMarker(is_checked) => {
                let item = self.stack.iter_mut().rev().find_map(|(kind, _)| match kind {
                    Kind::Item(checked) => Some(checked),
                    _ => None,
                });
                if let Some(checked) = item {
                    *checked = Some(is_checked);
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, tag: Tag<'_>) {
        if self.skipped > 0 || self.stack.len() >= MAX_DEPTH {
            self.skipped += 1;
            if matches!(
                tag,
                Tag::Item | Tag::List(_) | Tag::BlockQuote(_) | Tag::CodeBlock(_) | Tag::TableCell
            ) {
                self.separate();
            }
            return;
        }
        let kind = match tag {
            Tag::Heading { level, .. } => Kind::Heading(level as u8),
            Tag::BlockQuote(_) => Kind::Quote,
            Tag::List(start) => Kind::List(start),
            Tag::Item => Kind::Item(None),
            Tag::CodeBlock(CodeBlockKind::Fenced(info)) => Kind::Code(language(&info)),
            Tag::CodeBlock(CodeBlockKind::Indented) => Kind::Code(String::new()),
            Tag::Table(alignments) => Kind::Table(alignments.into_iter().map(alignment).collect()),
            Tag::TableHead | Tag::TableRow => Kind::Row,
            Tag::TableCell => Kind::Cell,
            Tag::Strong => Kind::Strong,
            Tag::Emphasis => Kind::Emphasis,
            Tag::Strikethrough => Kind::Strike,
            Tag::Link {
                link_type, dest_url, ..
            } => {
                let is_mail = link_type == LinkType::Email;
                let target = if is_mail {
                    format!("mailto:{dest_url}")
                } else {
                    dest_url.into_string()
                };
                self.links += 1;
                Kind::Link(target)
            }
            Tag::Image { dest_url, .. } => Kind::Image(dest_url.into_string()),
            // HTML blocks have text only; the other tags belong to extensions that are not enabled.
            _ => Kind::Paragraph,
        };
        self.stack.push((kind, Content::default()));
    }

    /// Keeps the texts of two blocks that are nested too deeply apart.
    fn separate(&mut self) {
        let inlines = &mut self.top().inlines;
        if !matches!(inlines.last(), None | Some(Inline::Break)) {
            inlines.push(Inline::Break);
        }
    }

    fn end(&mut self, budget: &mut Budget) -> Result<(), PlainReason> {
        if self.skipped > 0 {
            self.skipped -= 1;
            self.separate();
            return Ok(());
        }
        let Some((kind, mut content)) = self.stack.pop() else {
            return Ok(());
        };
        // Within a link, a text has no further link.
        let may_link = self.links == 0;
        if let Kind::Link(_) = kind {
            self.links -= 1;
        }
        let block = match kind {
            Kind::Code(language) => code(&language, &raw_text(&content.inlines), budget)?,
            Kind::Quote => {
                content.flush(may_link, budget)?;
                Block::Quote { blocks: content.blocks }
            }
            Kind::Item(checked) => {
                content.flush(may_link, budget)?;
                let blocks = content.blocks;
                self.top().items.push(ListItem { checked, blocks });
                return Ok(());
            }
            Kind::List(start) => Block::List {
                ordered: start.is_some(),
                start: start.unwrap_or(1),
                items: content.items,
            },
            Kind::Table(alignments) => Block::Table {
                alignments,
                rows: content.rows,
            },
            Kind::Row => {
                self.top().rows.push(content.cells);
                return Ok(());
            }
            kind => {
                let children = finished(content.inlines, may_link, budget)?;
                match kind {
                    Kind::Heading(level) => Block::Heading { level, children },
                    Kind::Cell => {
                        self.top().cells.push(children);
                        return Ok(());
                    }
                    Kind::Strong => return self.push_inlines(vec![Inline::Strong { children }]),
                    Kind::Emphasis => return self.push_inlines(vec![Inline::Emphasis { children }]),
                    Kind::Strike => return self.push_inlines(vec![Inline::Strike { children }]),
                    Kind::Link(target) => return self.push_inlines(link(&target, children)),
                    Kind::Image(target) => return self.push_inlines(image(&target, &raw_text(&children), may_link)),
                    _ => Block::Paragraph { children },
                }
            }
        };
        self.push_block(block, budget)
    }

    fn push_block(&mut self, block: Block, budget: &mut Budget) -> Result<(), PlainReason> {
        let may_link = self.links == 0;
        let top = self.top();
        top.flush(may_link, budget)?;
        top.blocks.push(block);
        Ok(())
    }

    fn push_inlines(&mut self, inlines: Vec<Inline>) -> Result<(), PlainReason> {
        let top = self.top();
        for inline in inlines {
            match inline {
                Inline::Text { text } => top.push_text(&text),
                inline => top.inlines.push(inline),
            }
        }
        Ok(())
    }
}

/// Returns the language of a fence: its first word.
fn language(info: &str) -> String {
    let word = info.split([' ', ',', '{', '\t']).next().unwrap_or_default();
    word.to_lowercase()
}

fn alignment(alignment: cmark::Alignment) -> Alignment {
    match alignment {
        cmark::Alignment::None => Alignment::None,
        cmark::Alignment::Left => Alignment::Left,
        cmark::Alignment::Center => Alignment::Center,
        cmark::Alignment::Right => Alignment::Right,
    }
}

/// Renders a code block. The block may be that of another notation: its language says so.
fn code(language: &str, text: &str, budget: &mut Budget) -> Result<Block, PlainReason> {
    if language == "ansi" || terminal::has_escapes(text) {
        return terminal::render(text, budget);
    }
    if ["diff", "patch"].contains(&language)
        && diff::is_diff(text)
        && let Some(block) = diff::render(text, budget)?
    {
        return Ok(block);
    }
    highlight::code(language, text, budget).map(Block::Code)
}

/// Returns the texts of inlines, which were not cleaned if they have not been finished.
fn raw_text(inlines: &[Inline]) -> String {
    let mut text = String::new();
    for inline in inlines {
        match inline {
            Inline::Text { text: part } | Inline::Code { text: part } => text.push_str(part),
            Inline::Image { alt, .. } => text.push_str(alt),
            Inline::Break => text.push(' '),
            Inline::Strong { children }
            | Inline::Emphasis { children }
            | Inline::Strike { children }
            | Inline::Link { children, .. } => text.push_str(&raw_text(children)),
        }
    }
    text
}

/// Cleans the texts of inlines, splits them at line feeds, and makes links of the addresses in them.
fn finished(inlines: Vec<Inline>, may_link: bool, budget: &mut Budget) -> Result<Vec<Inline>, PlainReason> {
    let mut done = Vec::with_capacity(inlines.len());
    for inline in inlines {
        let Inline::Text { text } = inline else {
            done.push(inline);
            continue;
        };
        // HTML blocks have several lines and end with a line feed.
        for (i, line) in clean(text.trim_end_matches('\n')).split('\n').enumerate() {
            if i > 0 {
                done.push(Inline::Break);
            }
            for inline in linked(line, may_link) {
                budget.take()?;
                done.push(inline);
            }
        }
    }
    while let Some(Inline::Break) = done.last() {
        done.pop();
    }
    Ok(done)
}

/// Splits a text into addresses and the texts between them.
fn linked(text: &str, may_link: bool) -> Vec<Inline> {
    let whole = |text: &str| Inline::Text { text: text.to_owned() };
    if text.is_empty() {
        return Vec::new();
    }
    if !may_link || !text.contains("://") {
        return vec![whole(text)];
    }
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]);
    let spans = finder.spans(text).map(|span| {
        let text = span.as_str();
        match span.kind().and_then(|_| safe_address(text)) {
            Some(href) => Inline::Link {
                href,
                children: vec![whole(text)],
            },
            None => whole(text),
        }
    });
    spans.collect()
}

/// Returns the address if its scheme is allowed and no part of it is hidden.
pub(super) fn safe_address(target: &str) -> Option<String> {
    let is_allowed = SCHEMES.iter().any(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let is_visible = !target.contains(|c: char| c.is_whitespace()) && clean(target) == target;
    (is_allowed && is_visible).then(|| target.to_owned())
}

/// Returns a link; a text and its target if the target is not allowed.
fn link(target: &str, children: Vec<Inline>) -> Vec<Inline> {
    match safe_address(target) {
        Some(href) => vec![Inline::Link { href, children }],
        None => {
            let text = format!(" ({})", clean(target).replace('\n', " "));
            let mut inlines = children;
            inlines.push(Inline::Text { text });
            inlines
        }
    }
}

/// Returns an image whose data is in the text; a link to any other.
fn image(target: &str, alt: &str, may_link: bool) -> Vec<Inline> {
    if is_data_image(target) {
        return vec![Inline::Image {
            src: target.to_owned(),
            alt: alt.to_owned(),
        }];
    }
    let text = if alt.is_empty() { clean(target) } else { alt.to_owned() };
    let children = vec![Inline::Text { text }];
    if may_link { link(target, children) } else { children }
}

fn is_data_image(target: &str) -> bool {
    let data = target
        .strip_prefix("data:image/")
        .and_then(|rest| rest.split_once(";base64,"));
    data.is_some_and(|(kind, data)| {
        IMAGE_TYPES.contains(&kind)
            && !data.is_empty()
            && data
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))
    })
}
