// The elements of rendered texts (PROTOCOL.md lists the nodes). Text is only ever inserted as text nodes. Nodes of unknown
// types are left out: a newer hub may send them.

/** @import { Block, CodeBlock, DiffLine, FileDiff, Inline, JsonValue, ListItem, TableBlock, TerminalSpan } from '../types.d.ts' */

import { element, setText, setAttribute } from '../dom.js';
import { pluralize } from '../format.js';
import { button, copyToClipboard } from './forms.js';

/** A longer block is folded: its further lines are created when the reader asks for them. */
const FOLD_LINES = 40;
/** JSON objects and arrays below this depth are closed at first. */
const OPEN_JSON_DEPTH = 2;
/** @type {Record<string, string>} */
const SIGNS = { added: '+', removed: '-', note: '\\' };

/** @param {string} src */
const isDataImage = src => /^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$/.test(src);
/** @param {string} href */
const isSafeLink = href => /^(https?:\/\/|mailto:)/i.test(href);

/**
 * Returns the elements of a tree's blocks.
 * @param {Block[]} blocks
 */
export const buildBlocks = blocks => blocks.flatMap(block => buildBlock(block) ?? []);

/**
 * @param {Block} block
 * @returns {HTMLElement | undefined}
 */
function buildBlock(block) {
  switch (block.type) {
    case 'paragraph':
      return element('p', {}, ...inlines(block.children));
    case 'heading': {
      const attributes = { role: 'heading', 'aria-level': block.level + 2, 'data-level': block.level };
      return element('p.rendered-heading', attributes, ...inlines(block.children));
    }
    case 'list': {
      const items = block.items.map(Item);
      return block.ordered ? element('ol', { start: block.start }, ...items) : element('ul', {}, ...items);
    }
    case 'quote':
      return element('blockquote', {}, ...buildBlocks(block.blocks));
    case 'code':
      return Code(block);
    case 'table':
      return Table(block);
    case 'rule':
      return element('hr');
    case 'json':
      return Json(block.value);
    case 'diff':
      return element('div', {}, ...block.files.map(Diff));
    case 'terminal':
      return Terminal(block.lines);
    default:
      return undefined;
  }
}

/** @param {Inline[]} nodes */
const inlines = nodes => nodes.flatMap(node => buildInline(node) ?? []);

/**
 * @param {Inline} node
 * @returns {HTMLElement | string | undefined}
 */
function buildInline(node) {
  switch (node.type) {
    case 'text':
      return node.text;
    case 'code':
      return element('code', node.text);
    case 'strong':
      return element('strong', {}, ...inlines(node.children));
    case 'emphasis':
      return element('em', {}, ...inlines(node.children));
    case 'strike':
      return element('s', {}, ...inlines(node.children));
    case 'link':
      return Link(node.href, node.children);
    case 'image':
      return isDataImage(node.src) ? element('img', { src: node.src, alt: node.alt, loading: 'lazy' }) : node.alt;
    case 'break':
      return element('br');
    default:
      return undefined;
  }
}

/**
 * @param {Inline[]} nodes
 * @returns {string}
 */
const textOf = nodes =>
  nodes
    .map(node => {
      if ('text' in node) return node.text;
      if ('alt' in node) return node.alt;
      return 'children' in node ? textOf(node.children) : '';
    })
    .join('');

/**
 * A link shows the host it leads to, unless its text is its address.
 * @param {string} href
 * @param {Inline[]} children
 */
function Link(href, children) {
  if (!isSafeLink(href)) return element('span', {}, ...inlines(children));
  const attributes = { href, title: href, rel: 'noreferrer noopener', target: '_blank' };
  const link = element('a', attributes, ...inlines(children));
  const text = textOf(children);
  if (text === href || 'mailto:' + text === href) return link;
  const host = href.replace(/^(https?:\/\/[^/?#]*).*/i, '$1');
  return element('span', {}, link, element('span.link-target', ` (${host})`));
}

/** @param {ListItem} item */
function Item({ checked, blocks }) {
  if (checked == null) return element('li', {}, ...buildBlocks(blocks));
  const attributes = { role: 'img', 'aria-label': checked ? 'done' : 'to do' };
  const box = element('span.task-box', attributes, checked ? '✓' : '');
  return element('li', { 'data-checked': String(checked) }, box, ...buildBlocks(blocks));
}

/** @param {TableBlock} table */
function Table({ alignments, rows: [headings = [], ...rows] }) {
  const row = (/** @type {'th' | 'td'} */ tag, /** @type {Inline[][]} */ cells) =>
    element('tr', {}, ...cells.map((cell, i) => element(tag, { 'data-align': alignments[i] }, ...inlines(cell))));
  return element(
    'div.rendered-table',
    { tabindex: 0, role: 'region', 'aria-label': 'Table' },
    element(
      'table',
      element('thead', row('th', headings)),
      element('tbody', {}, ...rows.map(cells => row('td', cells)))
    )
  );
}

/**
 * The bar above a block: its title, and a button that copies its text.
 * @param {string} title
 * @param {() => string} copyText
 */
function Bar(title, copyText) {
  const copyButton = button('Copy', () => void copyToClipboard(copyButton, copyText()), 'button.copy');
  return element('div.rendered-bar', element('span', title), copyButton);
}

/**
 * A block of lines, with a button that shows what is folded.
 * @template L
 * @param {{
 *   kind: string,
 *   title: string,
 *   lines: L[],
 *   createLine: (line: L, i: number) => HTMLElement,
 *   copyText: () => string
 * }} options
 */
function LinesBlock({ kind, title, lines, createLine, copyText }) {
  const firstLines = lines.slice(0, FOLD_LINES).map(createLine);
  const body = element('div.lines', { tabindex: 0, role: 'group', 'aria-label': title || kind }, ...firstLines);
  const block = element('div.rendered-block', { 'data-kind': kind }, Bar(title, copyText), body);
  if (lines.length > FOLD_LINES) block.append(FoldButton(block, body, lines, createLine));
  return block;
}

/**
 * @template L
 * @param {HTMLElement} block
 * @param {HTMLElement} body
 * @param {L[]} lines
 * @param {(line: L, i: number) => HTMLElement} createLine
 */
function FoldButton(block, body, lines, createLine) {
  /** @type {HTMLElement[]} The elements of the further lines, while they are shown. */
  let furtherLines = [];
  const foldButton = button('', toggle, 'button.fold');
  function toggle() {
    if (furtherLines.length) {
      for (const line of furtherLines) line.remove();
      furtherLines = [];
    } else {
      furtherLines = lines.slice(FOLD_LINES).map((line, i) => createLine(line, i + FOLD_LINES));
      body.append(...furtherLines);
    }
    show();
  }
  function show() {
    const isFolded = !furtherLines.length;
    setAttribute(block, 'data-folded', isFolded);
    setAttribute(foldButton, 'aria-expanded', String(!isFolded));
    setText(foldButton, isFolded ? `Show all ${pluralize(lines.length, 'line')}` : 'Show less');
  }
  show();
  return foldButton;
}

/** @param {{ text: string }[][]} lines */
const spansText = lines => lines.map(spans => spans.map(span => span.text).join('')).join('\n');

/** @param {CodeBlock} block */
function Code({ language, path, first_line: firstLine, lines }) {
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

/** @param {TerminalSpan[][]} lines */
function Terminal(lines) {
  return LinesBlock({
    kind: 'terminal',
    title: '',
    lines,
    createLine: spans => element('div.line', {}, ...spans.map(ColoredSpan)),
    copyText: () => spansText(lines)
  });
}

/** @param {TerminalSpan} span */
function ColoredSpan({ text, color, background, styles }) {
  const node = element('span', { 'data-style': styles?.join(' ') }, text);
  for (const [name, value] of Object.entries({ color, background })) {
    const isRgb = !!value && /^#[0-9a-f]{6}$/.test(value);
    setAttribute(node, 'data-' + name, isRgb ? 'rgb' : value);
    if (isRgb) node.style.setProperty('--' + name, value);
  }
  return node;
}

/** @param {FileDiff} file */
function diffTitle({ old_path: oldPath, new_path: newPath }) {
  if (!oldPath) return newPath + ' (new)';
  if (!newPath) return oldPath + ' (deleted)';
  return oldPath === newPath ? newPath : `${oldPath} → ${newPath}`;
}

/** @param {FileDiff} file */
function Diff(file) {
  /** @type {(text: string) => DiffLine[]} */
  const heading = text => (text ? [{ kind: 'heading', text }] : []);
  const lines = [
    ...(file.notes || []).flatMap(heading),
    ...file.hunks.flatMap((hunk, i) => [...heading(hunk.heading || (i ? '⋯' : '')), ...hunk.lines])
  ];
  const hasNumbers = lines.some(line => line.old || line.new);
  return LinesBlock({
    kind: 'diff',
    title: file.old_path || file.new_path ? diffTitle(file) : '',
    lines,
    createLine({ kind, old: oldNumber, new: newNumber, text }) {
      const numbers = hasNumbers ? [oldNumber, newNumber] : [];
      return element(
        'div.line',
        { 'data-change': kind },
        ...numbers.map(number => element('span.number', String(number ?? ''))),
        element('span', (SIGNS[kind] || ' ') + text)
      );
    },
    copyText: () => lines.map(({ kind, text }) => (kind === 'heading' ? '@@ ' : SIGNS[kind] || ' ') + text).join('\n')
  });
}

/** @param {JsonValue} value */
const Json = value =>
  element(
    'div.rendered-block',
    { 'data-kind': 'json' },
    Bar('JSON', () => jsonText(value, '')),
    element('div.json', JsonNode(value, null, 0))
  );

/**
 * @param {JsonValue} value
 * @param {string} indent
 * @returns {string}
 */
function jsonText(value, indent) {
  const inner = indent + '  ';
  const wrap = (/** @type {string} */ brackets, /** @type {string[]} */ parts) =>
    parts.length ? `${brackets[0]}\n${inner}${parts.join(',\n' + inner)}\n${indent}${brackets[1]}` : brackets;
  switch (value.type) {
    case 'object': {
      const entries = value.entries.map(entry => JSON.stringify(entry.key) + ': ' + jsonText(entry.value, inner));
      return wrap('{}', entries);
    }
    case 'array':
      return wrap(
        '[]',
        value.items.map(item => jsonText(item, inner))
      );
    case 'string':
      return JSON.stringify(value.text);
    default:
      return value.text;
  }
}

/**
 * Returns the members of an object or array with their names; undefined for other values.
 * @param {JsonValue} value
 * @returns {[string, JsonValue][] | undefined}
 */
function jsonMembers(value) {
  if (value.type === 'object') return value.entries.map(entry => [entry.key, entry.value]);
  return value.type === 'array' ? value.items.map((item, i) => [String(i), item]) : undefined;
}

/**
 * A value of JSON. The members of an object or array are created when the reader opens it.
 * @param {JsonValue} value
 * @param {string | null} key
 * @param {number} depth
 * @returns {HTMLElement}
 */
function JsonNode(value, key, depth) {
  const label = key == null ? [] : [element('span.json-key', key), ': '];
  const members = jsonMembers(value);
  if ('text' in value || !members) {
    const text = 'text' in value ? value.text : '';
    const shown = value.type === 'string' ? `"${text}"` : text;
    return element('div.json-leaf', {}, ...label, element('span', { 'data-token': value.type }, shown));
  }
  const size = value.type === 'object' ? `{${members.length}}` : `[${members.length}]`;
  const summary = element('summary', {}, ...label, element('span.json-size', size));
  let isFilled = false;
  const fill = () => {
    if (!node.open || isFilled) return;
    isFilled = true;
    node.append(...members.map(([name, member]) => JsonNode(member, name, depth + 1)));
  };
  const node = element('details', { ontoggle: fill }, summary);
  node.open = depth < OPEN_JSON_DEPTH && members.length <= FOLD_LINES;
  fill();
  return node;
}
