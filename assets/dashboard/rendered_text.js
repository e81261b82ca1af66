// Shows agents' texts as the trees that the hub renders (GET /api/rendered; PROTOCOL.md lists the nodes). Elements are
// built from the nodes, and text is only ever inserted as text nodes. Until the tree arrives, and if there is none,
// the text is shown as plain text.

import { button, copyToClipboard } from './components.js';
import { get } from './api.js';
import { element, setText, setAttribute } from './dom.js';
import { pluralize } from './format.js';
import { safeText } from './safe_text.js';

/** A longer block is folded: its further lines are created when the reader asks for them. */
const FOLD_LINES = 40;
/** JSON objects and arrays below this depth are closed at first. */
const OPEN_JSON_DEPTH = 2;
const MAX_IDS = 100;
/** Maximum length of a request's ids: the hub limits the size of a request's head. */
const MAX_QUERY = 8000;
/** Minimum time between two requests: rows may arrive faster than the hub renders. */
const REQUEST_INTERVAL_MS = 100;
const MAX_CACHED = 400;
const MAX_CACHED_LENGTH = 4 << 20;
/** What is plain in every notation. All other texts are rendered by the hub. */
const HAS_MARKUP = /[`*_#>|~[\]<&\\{}=+\x00-\x08\x0b-\x1f]|:\/\/|--|^\s*(-|\d+[.)])|^( {4}|\t)/m;

// ---- elements of the nodes ----

const INLINES = {
  text: ({ text }) => document.createTextNode(text),
  code: ({ text }) => element('code', text),
  strong: ({ children }) => element('strong', {}, ...inlines(children)),
  emphasis: ({ children }) => element('em', {}, ...inlines(children)),
  strike: ({ children }) => element('s', {}, ...inlines(children)),
  link: Link,
  image: ({ src, alt }) => (isDataImage(src) ? element('img', { src, alt, loading: 'lazy' }) : document.createTextNode(alt)),
  break: () => element('br')
};
const BLOCKS = {
  paragraph: ({ children }) => element('p', {}, ...inlines(children)),
  heading: ({ level, children }) => element('p.rendered-heading', { role: 'heading', 'aria-level': level + 2, 'data-level': level }, ...inlines(children)),
  list: List,
  quote: ({ blocks }) => element('blockquote', {}, ...buildBlocks(blocks)),
  code: CodeBlock,
  table: Table,
  rule: () => element('hr'),
  json: JsonBlock,
  diff: ({ files }) => element('div', {}, ...files.map(DiffFile)),
  terminal: TerminalBlock
};

const isDataImage = src => /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/.test(src);
const isSafeLink = href => /^(https?:\/\/|mailto:)/i.test(href);
const textOf = nodes => nodes.map(node => node.text ?? node.alt ?? textOf(node.children || [])).join('');

/** Nodes of unknown types are left out: a newer hub may send them. */
const inlines = nodes => nodes.filter(node => Object.hasOwn(INLINES, node.type)).map(node => INLINES[node.type](node));

/** Returns the elements of a tree's blocks. */
export const buildBlocks = blocks =>
  blocks.filter(block => Object.hasOwn(BLOCKS, block.type)).map(block => BLOCKS[block.type](block));

function Link({ href, children }) {
  if (!isSafeLink(href)) return element('span', {}, ...inlines(children));
  const link = element('a', { href, title: href, rel: 'noreferrer noopener', target: '_blank' }, ...inlines(children));
  if (textOf(children) === href || 'mailto:' + textOf(children) === href) return link;
  return element('span', {}, link, element('span.link-target', ` (${href.replace(/^(https?:\/\/[^/?#]*).*/i, '$1')})`));
}

function List({ ordered, start, items }) {
  const children = items.map(({ checked, blocks }) => {
    const [first, ...rest] = buildBlocks(blocks);
    if (checked == null) return element('li', {}, ...(first ? [first, ...rest] : []));
    const box = element('span.task-box', { role: 'img', 'aria-label': checked ? 'done' : 'to do' }, checked ? '☑' : '☐');
    return element('li', { 'data-checked': checked }, box, ...(first ? [first, ...rest] : []));
  });
  return ordered ? element('ol', { start }, ...children) : element('ul', {}, ...children);
}

function Table({ alignments, rows: [headings, ...rows] }) {
  const row = (tag, cells) =>
    element('tr', {}, ...cells.map((cell, i) => element(tag, { 'data-align': alignments[i] }, ...inlines(cell))));
  return element(
    'div.rendered-table scroll',
    { tabindex: 0, role: 'region', 'aria-label': 'Table' },
    element('table', {}, element('thead', {}, row('th', headings || [])), element('tbody', {}, ...rows.map(cells => row('td', cells))))
  );
}

/** A block of lines, with a title, a button that copies its text, and one that shows what is folded. */
function LinesBlock({ kind, title, lines, createLine, copyText }) {
  const copyButton = button('Copy', () => copyToClipboard(copyButton, copyText()), 'button.copy');
  const body = element('div.lines scroll', { tabindex: 0, role: 'group', 'aria-label': title || kind }, ...lines.slice(0, FOLD_LINES).map(createLine));
  const block = element('div.rendered-block', { 'data-kind': kind }, element('div.rendered-bar', {}, element('span', title), copyButton), body);
  if (lines.length > FOLD_LINES) {
    const label = `Show all ${pluralize(lines.length, 'line')}`;
    const foldButton = button(
      label,
      () => {
        const isFolded = block.hasAttribute('data-folded');
        setAttribute(block, 'data-folded', !isFolded);
        setAttribute(foldButton, 'aria-expanded', String(isFolded));
        setText(foldButton, isFolded ? 'Show less' : label);
        if (isFolded) body.append(...lines.slice(FOLD_LINES).map((line, i) => createLine(line, i + FOLD_LINES)));
        else [...body.children].slice(FOLD_LINES).forEach(line => line.remove());
      },
      'button.fold'
    );
    setAttribute(block, 'data-folded', true);
    setAttribute(foldButton, 'aria-expanded', 'false');
    block.append(foldButton);
  }
  return block;
}

const spansText = lines => lines.map(spans => spans.map(span => span.text).join('')).join('\n');

function CodeBlock({ language, path, first_line: firstLine, lines }) {
  return LinesBlock({
    kind: 'code',
    title: path || language,
    lines,
    createLine: (spans, i) =>
      element(
        'div.line',
        { 'data-number': firstLine == null ? null : firstLine + i },
        ...spans.map(({ class: tokenClass, text }) => element('span', { 'data-token': tokenClass }, text))
      ),
    copyText: () => spansText(lines)
  });
}

function TerminalBlock({ lines }) {
  return LinesBlock({
    kind: 'terminal',
    title: '',
    lines,
    createLine: spans => element('div.line', {}, ...spans.map(TerminalSpan)),
    copyText: () => spansText(lines)
  });
}

function TerminalSpan({ text, color, background, styles }) {
  const span = element('span', { 'data-style': styles?.join(' ') }, text);
  for (const [name, value] of [
    ['color', color],
    ['background', background]
  ]) {
    if (/^#[0-9a-f]{6}$/.test(value)) {
      setAttribute(span, 'data-' + name, 'rgb');
      span.style.setProperty('--' + name, value);
    } else {
      setAttribute(span, 'data-' + name, value);
    }
  }
  return span;
}

const SIGNS = { added: '+', removed: '-', note: '\\' };

function DiffFile({ old_path: oldPath, new_path: newPath, notes = [], hunks }) {
  const path = oldPath && newPath && oldPath !== newPath ? `${oldPath} → ${newPath}` : newPath || oldPath;
  const state = !oldPath && newPath ? ' (new)' : oldPath && !newPath ? ' (deleted)' : '';
  const lines = [
    ...notes.map(text => ({ kind: 'heading', text })),
    ...hunks.flatMap((hunk, i) => {
      const heading = hunk.heading || (i ? '⋯' : '');
      return heading ? [{ kind: 'heading', text: heading }, ...hunk.lines] : hunk.lines;
    })
  ];
  const hasNumbers = lines.some(line => line.old || line.new);
  return LinesBlock({
    kind: 'diff',
    title: path + state,
    lines,
    createLine({ kind, old, new: number, text }) {
      const numbers = hasNumbers ? [element('span.number', String(old ?? '')), element('span.number', String(number ?? ''))] : [];
      return element('div.line', { 'data-change': kind }, ...numbers, element('span', (SIGNS[kind] || ' ') + text));
    },
    copyText: () => lines.map(({ kind, text }) => (kind === 'heading' ? '@@ ' : SIGNS[kind] || ' ') + text).join('\n')
  });
}

function JsonBlock({ value }) {
  const copyButton = button('Copy', () => copyToClipboard(copyButton, jsonText(value, '')), 'button.copy');
  return element(
    'div.rendered-block',
    { 'data-kind': 'json' },
    element('div.rendered-bar', {}, element('span', 'JSON'), copyButton),
    element('div.json scroll', {}, JsonNode(value, null, 0))
  );
}

const isContainer = value => value.type === 'object' || value.type === 'array';

function jsonText(value, indent) {
  const inner = indent + '  ';
  const wrap = ([open, close], parts) => (parts.length ? `${open}\n${inner}${parts.join(',\n' + inner)}\n${indent}${close}` : open + close);
  switch (value.type) {
    case 'object':
      return wrap('{}', value.entries.map(entry => JSON.stringify(entry.key) + ': ' + jsonText(entry.value, inner)));
    case 'array':
      return wrap('[]', value.items.map(item => jsonText(item, inner)));
    case 'string':
      return JSON.stringify(value.text);
    default:
      return value.text;
  }
}

/** Children are created when the reader opens their parent. */
function JsonNode(value, key, depth) {
  const label = key == null ? [] : [element('span.json-key', key), ': '];
  if (!isContainer(value)) {
    return element('div.json-leaf', {}, ...label, element('span', { 'data-token': value.type }, value.type === 'string' ? `"${value.text}"` : value.text));
  }
  const children = value.type === 'object' ? value.entries.map(entry => [entry.key, entry.value]) : value.items.map((item, i) => [String(i), item]);
  const size = value.type === 'object' ? `{${children.length}}` : `[${children.length}]`;
  const node = element('details', {}, element('summary', {}, ...label, element('span.json-size', size)));
  const fill = () => {
    if (node.childElementCount === 1) node.append(...children.map(([name, child]) => JsonNode(child, name, depth + 1)));
  };
  node.addEventListener('toggle', () => node.open && fill());
  if (depth < OPEN_JSON_DEPTH && children.length <= FOLD_LINES) {
    node.open = true;
    fill();
  }
  return node;
}

// ---- loading ----

/** Trees by source, those used last at the end. */
const cache = new Map();
let cachedLength = 0;
/** Elements that wait for a tree: element → source. */
const waiting = new Map();
let isLoading = false;

const keyOf = ({ kind, id, field }) => kind + '\n' + id + '\n' + field;

function cachedTree(source) {
  const entry = cache.get(keyOf(source));
  if (entry?.text !== source.text) return;
  cache.delete(keyOf(source));
  cache.set(keyOf(source), entry);
  return entry.tree;
}

function remember(source, tree) {
  const former = cache.get(keyOf(source));
  if (former) cachedLength -= former.text.length;
  cache.delete(keyOf(source));
  cache.set(keyOf(source), { text: source.text, tree });
  cachedLength += source.text.length;
  for (const [key, { text }] of cache) {
    if (cache.size <= MAX_CACHED && cachedLength <= MAX_CACHED_LENGTH) break;
    cache.delete(key);
    cachedLength -= text.length;
  }
}

/**
 * Shows a text of a row in `node`: at once as plain text, and as its tree when that has arrived. Does nothing if the
 * node shows it already.
 * @param source kind: 'message', 'inbox' or 'event'; id: the row's; field: the column; text: its value
 */
export function showRendered(node, source) {
  const shown = node.source;
  if (shown && keyOf(shown) === keyOf(source) && shown.text === source.text) return;
  node.source = source;
  waiting.delete(node);
  const tree = cachedTree(source);
  if (tree && !tree.plain) return showTree(node, tree);
  showPlain(node, source.text);
  if (tree || !HAS_MARKUP.test(source.text)) return;
  waiting.set(node, source);
  scheduleLoad(0);
}

/** Shows a text of the page itself, without markup. */
export function showPlainText(node, text) {
  node.source = null;
  waiting.delete(node);
  showPlain(node, text);
}

function showPlain(node, text) {
  node.removeAttribute('data-rendered');
  const shown = safeText(text);
  const hasOnlyText = node.childNodes.length === 1 && node.firstChild.nodeType === Node.TEXT_NODE;
  if (hasOnlyText) setText(node, shown);
  else node.replaceChildren(shown);
}

function showTree(node, tree) {
  setAttribute(node, 'data-rendered', true);
  node.replaceChildren(...buildBlocks(tree.blocks));
}

function scheduleLoad(delayMs) {
  if (isLoading) return;
  isLoading = true;
  setTimeout(async () => {
    try {
      await loadBatch();
    } catch {
      // The texts stay plain. They are asked for again when they are shown again.
      for (const node of waiting.keys()) node.source = null;
      waiting.clear();
    }
    isLoading = false;
    if (waiting.size) scheduleLoad(REQUEST_INTERVAL_MS);
  }, delayMs);
}

/** Returns elements that are still shown and wait for rows of one kind, as many as one request may have ids. */
function nextBatch() {
  const batch = new Map();
  let length = 0;
  let kind;
  for (const [node, source] of waiting) {
    if (!node.isConnected) {
      waiting.delete(node);
      node.source = null;
      continue;
    }
    kind ??= source.kind;
    if (source.kind !== kind) continue;
    const query = '&id=' + encodeURIComponent(source.id);
    if (batch.size === MAX_IDS || (batch.size && length + query.length > MAX_QUERY)) break;
    length += query.length;
    batch.set(node, source);
  }
  return { kind, batch };
}

async function loadBatch() {
  const { kind, batch } = nextBatch();
  if (!batch.size) return;
  const ids = [...new Set([...batch.values()].map(source => String(source.id)))];
  const { items, next } = await get(`rendered?kind=${kind}` + ids.map(id => '&id=' + encodeURIComponent(id)).join(''));
  const fieldsById = new Map(items.map(item => [item.id, item.fields]));
  const left = new Set(next == null ? [] : ids.slice(ids.indexOf(next)));
  const changes = [];
  for (const [node, source] of batch) {
    // The response was full before this row.
    if (left.has(String(source.id)) && items.length) continue;
    const isCurrent = waiting.get(node) === source;
    if (isCurrent) waiting.delete(node);
    const tree = fieldsById.get(String(source.id))?.[source.field];
    if (!tree) continue;
    remember(source, tree);
    if (isCurrent && !tree.plain) changes.push(() => showTree(node, tree));
  }
  keepScrollPositions(changes);
}

/** Runs `changes`. What the reader sees in a timeline stays where it is, or at the end. */
function keepScrollPositions(changes) {
  const positions = [...document.querySelectorAll('.timeline')].map(scroller => {
    const top = scroller.getBoundingClientRect().top;
    const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 30;
    const anchor = [...(scroller.firstElementChild?.children || [])].find(row => row.getBoundingClientRect().bottom > top);
    return { scroller, isAtEnd, anchor, anchorTop: anchor?.getBoundingClientRect().top };
  });
  for (const change of changes) change();
  for (const { scroller, isAtEnd, anchor, anchorTop } of positions) {
    if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor) scroller.scrollTop += anchor.getBoundingClientRect().top - anchorTop;
  }
}
