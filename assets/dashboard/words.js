// Agents' text as nodes: a small part of Markdown (code, bold, headings, links).
// Everything goes in through text nodes: nothing is ever parsed as HTML, and a link shows
// where it goes.

import { h, text } from './dom.js';
import { safe } from './format.js';

const INLINE = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|^#{1,4} (.+)$|(https?:\/\/[^\s<>()"'`]*[^\s<>()"'`.,;:!?])/gm;

function inline(to, s) {
  let at = 0;
  for (const m of s.matchAll(INLINE)) {
    const [all, code, bold, head, href] = m;
    to.append(
      s.slice(at, m.index),
      code ? h('code', code) : bold || head ? h('b', bold || head) : h('a', { href, rel: 'noreferrer noopener', target: '_blank' }, all)
    );
    at = m.index + all.length;
  }
  to.append(s.slice(at));
}

/** Puts a text into an element; what is there already stays. */
export function words(e, s) {
  if (e.said === s) return;
  e.said = s;
  s = safe(s);
  const plain = !/[`*#]|https?:/.test(s),
    only = e.childNodes.length < 2 && (!e.firstChild || e.firstChild.nodeType === 3);
  if (plain && only) return text(e, s);
  e.replaceChildren();
  if (plain) e.append(s);
  else s.split(/^```.*\n?/m).forEach((part, i) => (i % 2 ? e.append(h('pre', { tabindex: 0 }, part.trimEnd())) : inline(e, part)));
}
