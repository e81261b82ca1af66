// Rows and lists of any kind: rows on one or two lines, repeated components, links to choose from, terms with values.

/** @import { ChipContent, Component, ItemContent, List, Pair } from '../types.d.ts' */

import { element, setText, setAttribute, setHidden } from '../dom.js';
import { Age, Initials, Tag } from './labels.js';
import { ListView } from './list_view.js';

/**
 * A link on one or two lines: initials, title, tag, snippet, time.
 * @param {'a.item' | 'a.two-line'} selector
 */
export function Item(selector = 'a.item') {
  const initials = Initials();
  const title = element('b');
  const tag = Tag();
  const snippet = element('span.snippet');
  const age = Age();
  const root = element(selector, initials.root, title, tag.root, snippet, age.root);
  return {
    root,
    /** @param {ItemContent} content */
    set(content) {
      setAttribute(root, 'href', content.href);
      setAttribute(root, 'title', content.author.note || null);
      initials.set(content.author);
      setText(title, content.title);
      tag.set(content.tag, content.tagNote);
      setText(snippet, content.snippet);
      age.set(content.time);
    }
  };
}

/**
 * An item that shows a value.
 * @template T
 * @param {(value: T) => ItemContent} describe
 * @returns {() => Component<T>}
 */
export const ItemOf = describe => () => {
  const item = Item();
  return { root: item.root, set: value => item.set(describe(value)) };
};

/**
 * A list of items on two lines.
 * @template T
 * @param {{
 *   label: string,
 *   keyOf: (item: T) => string,
 *   describe: (item: T) => ItemContent & { isNew: boolean },
 *   onNearEnd: () => void
 * }} options
 * @returns {List<T>}
 */
export function TwoLineList({ label, keyOf, describe, onNearEnd }) {
  const createRow = () => {
    const item = Item('a.two-line');
    return {
      root: item.root,
      set(/** @type {T} */ value) {
        const content = describe(value);
        item.set(content);
        setAttribute(item.root, 'data-new', content.isNew);
      }
    };
  };
  return ListView({ label, keyOf, onNearEnd, rowHeight: 58, createRow });
}

/**
 * The children of a <ul>, one component for each value. Components are created as needed, reused, and hidden when there
 * are too many.
 * @template T
 * @template {Component<T>} C
 * @param {HTMLElement} root
 * @param {() => C} create
 */
export function Repeated(root, create) {
  /** @type {{ row: HTMLElement, component: C }[]} */
  const entries = [];
  return {
    root,
    /** @param {T[]} values */
    set(values) {
      while (entries.length < values.length) {
        const component = create();
        const row = element('li', component.root);
        entries.push({ row, component });
        root.append(row);
      }
      values.forEach((value, i) => entries[i].component.set(value));
      entries.forEach(({ row }, i) => setHidden(row, i >= values.length));
    },
    /** Returns the component that contains a node. */
    find: (/** @type {Node | null} */ node) =>
      entries.find(({ component }) => component.root.contains(node))?.component
  };
}

/** @returns {Component<ChipContent>} */
function Chip() {
  const label = element('span');
  const count = element('b.count');
  const root = element('a', label, count);
  return {
    root,
    set(chip) {
      setAttribute(root, 'href', chip.href);
      setAttribute(root, 'aria-current', chip.isCurrent);
      setText(label, chip.label);
      setText(count, String(chip.count || ''));
      setHidden(count, !chip.count);
    }
  };
}

/**
 * A row of links to choose from.
 * @param {string} label
 * @returns {Component<ChipContent[]>}
 */
export function Chips(label) {
  const list = Repeated(element('ul'), Chip);
  return { root: element('nav.chips', { 'aria-label': label }, list.root), set: list.set };
}

/**
 * Terms and their values in a <dl>.
 * @param {'dl.figures' | 'dl.facts-table'} selector
 * @returns {Component<Pair[]>}
 */
export function Pairs(selector) {
  const root = element(selector);
  let shown = '';
  return {
    root,
    set(pairs) {
      const content = JSON.stringify(pairs);
      if (content === shown) return;
      shown = content;
      root.replaceChildren(
        ...pairs.map(({ label, value, tone }) =>
          element('div', { 'data-tone': tone }, element('dt', label), element('dd', value))
        )
      );
    }
  };
}

/**
 * Lines of text in a list.
 * @param {'ul.reject-list' | 'ol.receipts'} selector
 * @returns {Component<string[]>}
 */
export function Lines(selector) {
  const root = element(selector);
  let shown = '';
  return {
    root,
    set(lines) {
      const content = lines.join('\n');
      if (content === shown) return;
      shown = content;
      root.replaceChildren(...lines.map(line => element('li', line)));
    }
  };
}

/**
 * Two panes side by side on a wide screen, one at a time on a narrow one.
 * @param {string} className
 * @param {HTMLElement[]} listPane
 * @param {HTMLElement[]} detailPane
 */
export const SplitView = (className, listPane, detailPane) =>
  element(`div.split ${className}`, element('section.side', ...listPane), element('section.detail', ...detailPane));
