// The cards or lines of a <ul>. A card belongs to one item for as long as the item is listed, so that a click or the focus
// cannot reach another item. Cards that were added or moved ignore clicks for a moment: they were meant for another one.

/** @import { Card } from '../types.d.ts' */

import { element, setAttribute } from '../dom.js';

const IGNORE_CLICKS_MS = 500;

/**
 * A card and its place. `left` and `top` are those of its row in the last check, in pixels.
 * @template T
 * @typedef {{ key: string, row: HTMLElement, card: Card<T>, left: number, top: number, timer: number }} Entry
 */

/**
 * @template T
 * @template {Card<T>} C
 * @param {HTMLElement} root
 * @param {{ keyOf(item: T): string, create(item: T): C }} options
 */
export function CardList(root, { keyOf, create }) {
  /** @typedef {Entry<T> & { card: C }} ListEntry */
  /** @type {ListEntry[]} In the order of the list. */
  let entries = [];

  /**
   * @param {T} item
   * @returns {ListEntry}
   */
  function newEntry(item) {
    const card = create(item);
    return { key: keyOf(item), card, row: element('li', card.root), left: -1, top: -1, timer: 0 };
  }

  /**
   * Shows the items. While the order is held, known items keep their order, new ones follow, and the cards of items that
   * are no longer listed stay if they can be closed. If the card with the focus is removed, the next one gets the focus.
   * @param {T[]} items
   * @param {{ isOrderHeld: boolean }} options
   */
  function set(items, { isOrderHeld }) {
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    const focusedIndex = entries.findIndex(({ row }) => row.contains(focused));
    const former = entries;
    const byKey = new Map(items.map(item => [keyOf(item), item]));
    const known = new Map(entries.map(entry => [entry.key, entry]));
    const kept = isOrderHeld ? entries.filter(({ key, card }) => byKey.has(key) || card.close) : [];
    const others = items.filter(item => !isOrderHeld || !known.has(keyOf(item)));
    entries = [...kept, ...others.map(item => known.get(keyOf(item)) || newEntry(item))];
    for (const entry of former) if (!entries.includes(entry)) entry.row.remove();
    entries.forEach(({ key, row, card }, i) => {
      if (root.children[i] !== row) root.insertBefore(row, root.children[i] || null);
      const item = byKey.get(key);
      if (item) card.set(item);
      else card.close?.();
    });
    if (!focused || focusedIndex < 0 || root.contains(document.activeElement)) return;
    // Moving an element in the document takes its focus.
    if (root.contains(focused) && focused.offsetParent) return focused.focus({ preventScroll: true });
    const isListed = (/** @type {ListEntry} */ { key }) => byKey.has(key);
    (entries.slice(focusedIndex).find(isListed) || entries.findLast(isListed))?.card.focus();
  }

  /** Makes the cards that are at another place than in the last check ignore clicks. Reads the layout. */
  function checkPlaces() {
    for (const entry of entries) {
      const { offsetLeft, offsetTop } = entry.row;
      if (entry.left === offsetLeft && entry.top === offsetTop) continue;
      entry.left = offsetLeft;
      entry.top = offsetTop;
      setAttribute(entry.row, 'data-new', true);
      clearTimeout(entry.timer);
      entry.timer = setTimeout(() => setAttribute(entry.row, 'data-new', null), IGNORE_CLICKS_MS);
    }
  }

  return {
    root,
    set,
    checkPlaces,
    cards: () => entries.map(entry => entry.card),
    /** Returns the card of the item with this key. */
    get: (/** @type {string} */ key) => entries.find(entry => entry.key === key)?.card,
    /** Returns the key of the item whose card contains a node. */
    keyAt: (/** @type {Node | null} */ node) => entries.find(({ row }) => row.contains(node))?.key
  };
}
