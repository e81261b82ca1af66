// Renders a small part of Markdown (code, bold, headings, links) in text from agents.
// Text is never parsed as HTML, and a link shows its address.

import { element, setText } from './dom.js';
import { safeText } from './safe_text.js';

// `code`, **bold**, # heading, URL.
const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|^#{1,4} (.+)$|(https?:\/\/[^\s<>()"'`]*[^\s<>()"'`.,;:!?])/gm;
const CODE_FENCE = /^```.*\n?/m;

function appendInline(parent, text) {
  let position = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, code, bold, heading, url] = match;
    parent.append(text.slice(position, match.index));
    if (code) parent.append(element('code', code));
    else if (url) parent.append(element('a', { href: url, rel: 'noreferrer noopener', target: '_blank' }, all));
    else parent.append(element('b', bold || heading));
    position = match.index + all.length;
  }
  parent.append(text.slice(position));
}

/** Shows `source` in `node`; does nothing if it already does. */
export function renderMarkdown(node, source) {
  if (node.markdown === source) return;
  node.markdown = source;
  const text = safeText(source);
  const isPlain = !/[`*#]|https?:/.test(text);
  const hasOnlyText = node.childNodes.length < 2 && (!node.firstChild || node.firstChild.nodeType === Node.TEXT_NODE);
  if (isPlain && hasOnlyText) return setText(node, text);
  node.replaceChildren();
  if (isPlain) return node.append(text);
  // Every second part is inside a fence.
  text.split(CODE_FENCE).forEach((part, i) => {
    if (i % 2) node.append(element('pre', { tabindex: 0 }, part.trimEnd()));
    else appendInline(node, part);
  });
}
