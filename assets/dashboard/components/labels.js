// Small parts that show one value: initials, names, status tags, times, a bar chart.

/** @import { Author, Component, Mail, Task } from '../types.d.ts' */

import { element, setText, setAttribute, setTextOrHide, drawing, drawnPath } from '../dom.js';
import { initialsOfAuthor } from '../authors.js';
import { formatAge, formatDateTimeOrEmpty } from '../format.js';
import { routeToAgent } from '../routes.js';
import { safeText } from '../safe_text.js';
import { shownStatus, statusNote } from '../store/tasks.js';

/**
 * The square with the initials of an author.
 * @returns {Component<Author>}
 */
export function Initials() {
  const root = element('span.initials', { 'aria-hidden': 'true' });
  return {
    root,
    set(author) {
      setText(root, initialsOfAuthor(author));
      setAttribute(root, 'data-mark', author.mark);
      setAttribute(root, 'data-hue', author.hue);
    }
  };
}

/**
 * The name of an author; that of an agent leads to its page.
 * @returns {Component<Author>}
 */
export function NameLink() {
  const root = element('a.name-link');
  return {
    root,
    set({ name, label, hue }) {
      setText(root, label);
      setAttribute(root, 'href', hue === undefined ? null : routeToAgent(name));
    }
  };
}

/**
 * The name of the author of a row, with a note as its tooltip.
 * @returns {Component<Author>}
 */
export function AuthorName() {
  const link = NameLink();
  const root = element('b', link.root);
  return {
    root,
    set(author) {
      link.set(author);
      setAttribute(root, 'title', author.note || null);
      setAttribute(root, 'data-mark', author.mark);
    }
  };
}

// ---- status tags: a sign, a word and a colour; unknown words are shown as they are ----

/** @type {[tone: string, sign: string, words: string][]} */
const TONES = [
  ['run', '●', 'running working'],
  ['ok', '✓', 'arrived completed resolved'],
  ['bad', '▲', 'error failed urgent'],
  ['warn', '◆', 'paused waiting question action approval_request request'],
  ['stale', '◷', 'stale'],
  ['gone', '×', 'gone'],
  ['none', '↗', 'directive'],
  ['none', '◇', 'proposal feedback handoff']
];
/** Word → tone and sign. A Map, because a word may be the name of a property that every object has. */
const TAG_STYLES = new Map(
  TONES.flatMap(([tone, sign, words]) => words.split(' ').map(word => [word, { tone, sign }]))
);

/**
 * Sets the colour that an element has because of a word.
 * @param {Element} node
 * @param {string | undefined} word
 */
export function setTone(node, word = '') {
  setAttribute(node, 'data-tone', TAG_STYLES.get(word)?.tone || 'none');
}

/** A tag for a word. It is hidden while the word is empty. */
export function Tag() {
  const root = element('span.tag');
  /** @type {string | undefined} */
  let shown;
  return {
    root,
    /**
     * @param {string | undefined} word
     * @param {string} note the tooltip
     */
    set(word = '', note = '') {
      setAttribute(root, 'title', note || null);
      if (shown === word) return;
      shown = word;
      setTextOrHide(root, safeText(word, 40).replace(/_/g, ' '));
      setTone(root, word);
      setAttribute(root, 'data-sign', TAG_STYLES.get(word)?.sign || '○');
    }
  };
}

/**
 * The tag for the status of a task.
 * @returns {Component<Task | undefined>}
 */
export function TaskTag() {
  const tag = Tag();
  return {
    root: tag.root,
    set(task) {
      const status = task && shownStatus(task);
      tag.set(status, statusNote(status));
    }
  };
}

/**
 * Returns the word of the tag of mail: its priority or type, if it is more than a notification.
 * @param {Mail} mail
 */
export function mailTag(mail) {
  if (mail.priority && mail.priority !== 'info') return mail.priority;
  return mail.message_type === 'notification' ? '' : mail.message_type;
}

/** The age of a time in Unix milliseconds, with the time as its tooltip. */
export function Age() {
  const root = element('time');
  /** @type {number | undefined} */
  let shown;
  return {
    root,
    /** @param {number | undefined} ms */
    set(ms) {
      setText(root, formatAge(ms));
      if (shown === ms) return;
      shown = ms;
      root.dateTime = ms ? new Date(ms).toISOString() : '';
      root.title = formatDateTimeOrEmpty(ms);
    }
  };
}

/** A bar chart of 60 numbers, drawn as one path. It is hidden while all numbers are 0. */
export function Sparkline() {
  const path = drawnPath();
  const root = drawing('sparkline', '60 20', '', path);
  return {
    root,
    /** @param {number[]} samples */
    set(samples) {
      const scale = 19 / Math.max(4, ...samples);
      const bars = samples.map((count, i) =>
        count ? `M${i + 0.5} 20v-${Math.max(1.5, count * scale).toFixed(1)}` : ''
      );
      setAttribute(path, 'd', bars.join('') || 'M0 20');
      setAttribute(root, 'hidden', samples.some(Boolean) ? null : '');
    }
  };
}
