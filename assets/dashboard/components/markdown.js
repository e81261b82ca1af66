// Renders a small part of Markdown (code, bold, headings, links) in text from agents.
// Text is never parsed as HTML, and a link shows its address.

import { element, setText } from '../dom.js';
import { safeText } from '../safe_text.js';

// `code`, **bold**, # heading, URL.
const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|^#{1,4} (.+)$|(https?:\/\/[^\s<>()"'`]*[^\s<>()"'`.,;:!?])/gm;
const CODE_FENCE = /^```.*\n?/m;
const MARKUP = /[`*#]|https?:/;

/**
 * @param {Element} parent
 * @param {string} text
 */
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

/**
 * A block of text with Markdown.
 * @param {'div.text' | 'div.mail-body'} selector
 */
export function MarkdownText(selector) {
  const root = element(selector, { dir: 'auto' });
  /** @type {string | undefined} */
  let shown;
  // A plain text is one text node, which is updated in place.
  let isPlain = true;
  return {
    root,
    /** @param {string | undefined} source */
    set(source) {
      if (shown === source) return;
      shown = source;
      const text = safeText(source);
      const wasPlain = isPlain;
      isPlain = !MARKUP.test(text);
      if (isPlain && wasPlain) return setText(root, text);
      root.replaceChildren();
      if (isPlain) return root.append(text);
      // Every second part is inside a fence.
      text.split(CODE_FENCE).forEach((part, i) => {
        if (i % 2) root.append(element('pre', { tabindex: 0 }, part.trimEnd()));
        else appendInline(root, part);
      });
    }
  };
}
