// A list of rows of equal height. Only the rows in sight have elements, which are recycled: thousands of items need about
// one screenful of nodes.

/** @import { Component, List, ListOptions } from '../types.d.ts' */

import { element, setAttribute } from '../dom.js';
import { OrderHold } from './order_hold.js';

const ROWS_ABOVE = 4;
const ROWS_BELOW = 8;
/** `onNearEnd` is called when the lower edge is this close to the end, in pixels. */
const NEAR_END_PX = 600;

/**
 * @template T
 * A row that has an element. `index` is that of its item, -1 before it shows one.
 * @typedef {{ root: HTMLElement, content: Component<T>, item?: T, index: number }} Row
 */

/**
 * @template T
 * @param {ListOptions<T>} options
 * @returns {List<T>}
 */
export function ListView({ label, rowHeight, keyOf, createRow, onNearEnd }) {
  const space = element('div.list-space', { role: 'list', 'aria-label': label });
  const root = element('div.list', space);
  /** @type {T[]} */
  let items = [];
  /** @type {string | number | null | undefined} */
  let currentKey;
  /** @type {string | number | undefined} */
  let focusedKey;
  /** @type {Map<string | number, Row<T>>} The rows that have elements, by the key of their item. */
  const rows = new Map();
  let spaceCount = -1;
  let viewHeight = 0;
  let frame = 0;

  const orderHeldMs = OrderHold(root);
  root.onscroll = () => {
    renderNextFrame();
    const bottom = root.scrollTop + viewHeight;
    if (bottom > items.length * rowHeight - NEAR_END_PX) onNearEnd?.();
  };
  root.addEventListener('focusin', event => {
    const item = rowAt(event.target)?.item;
    if (item) focusedKey = keyOf(item);
  });
  root.onkeydown = moveFocus;
  new ResizeObserver(() => {
    viewHeight = root.clientHeight;
    renderNextFrame();
  }).observe(root);

  /** @param {EventTarget | null} target */
  const rowAt = target => [...rows.values()].find(row => row.root.contains(/** @type {Node | null} */ (target)));

  function renderNextFrame() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      render();
    });
  }

  function render(newItems = items, current = currentKey) {
    items = newItems;
    currentKey = current;
    const count = items.length;
    if (spaceCount !== count) {
      spaceCount = count;
      space.style.height = count * rowHeight + 'px';
    }
    const wanted = indexesInSight();
    const focused = rowAt(document.activeElement);
    if (focused) addIndexOf(focused, wanted);
    const unused = takeUnused(wanted);
    // A row with the focus is not reused: the focus would silently be on another item.
    const reusable = unused.filter(row => row !== focused);
    // The whole list has one tab stop; the arrow keys move within it.
    const [firstKey] = wanted.keys();
    const tabStop = [focusedKey, currentKey].find(key => key != null && wanted.has(key)) ?? firstKey;
    for (const [key, index] of wanted) {
      const row = rows.get(key) || reusable.pop() || newRow();
      rows.set(key, row);
      row.item = items[index];
      placeRow(row, index);
      setAttribute(row.root, 'aria-setsize', count);
      const link = row.content.root;
      const tabIndex = key === tabStop ? 0 : -1;
      row.content.set(items[index]);
      if (link.tabIndex !== tabIndex) link.tabIndex = tabIndex;
      setAttribute(link, 'aria-current', key === currentKey);
    }
    for (const row of reusable) row.root.remove();
    if (focused && unused.includes(focused)) {
      focused.root.remove();
      focusNear(focused.index);
    }
  }

  /** Returns the keys and indexes of the items in sight and around it. */
  function indexesInSight() {
    const start = Math.max(0, Math.floor(root.scrollTop / rowHeight) - ROWS_ABOVE);
    const end = Math.min(items.length, start + Math.ceil(viewHeight / rowHeight) + ROWS_BELOW);
    /** @type {Map<string | number, number>} */
    const wanted = new Map();
    for (let index = start; index < end; index++) wanted.set(keyOf(items[index]), index);
    return wanted;
  }

  /**
   * Adds the item of the row with the focus to those that have elements: the focus would be lost if it left the window.
   * @param {Row<T>} focused
   * @param {Map<string | number, number>} wanted
   */
  function addIndexOf({ item, index }, wanted) {
    if (!item) return;
    const key = keyOf(item);
    if (wanted.has(key)) return;
    const hasKey = (/** @type {T | undefined} */ other) => !!other && keyOf(other) === key;
    const newIndex = hasKey(items[index]) ? index : items.findIndex(hasKey);
    if (newIndex >= 0) wanted.set(key, newIndex);
  }

  /**
   * Moves the focus to the row at an index, or to the nearest one that has an element.
   * @param {number} index
   */
  function focusNear(index) {
    const distance = (/** @type {Row<T>} */ row) => Math.abs(row.index - index);
    const [nearest] = [...rows.values()].sort((a, b) => distance(a) - distance(b));
    nearest?.content.root.focus({ preventScroll: true });
  }

  /**
   * Takes out the rows whose items are not wanted.
   * @param {Map<string | number, number>} wanted
   */
  function takeUnused(wanted) {
    /** @type {Row<T>[]} */
    const unused = [];
    for (const [key, row] of rows) {
      if (wanted.has(key)) continue;
      rows.delete(key);
      unused.push(row);
    }
    return unused;
  }

  /** @returns {Row<T>} */
  function newRow() {
    const content = createRow();
    const row = { root: element('div.row', { role: 'listitem' }, content.root), content, index: -1 };
    space.append(row.root);
    return row;
  }

  /**
   * @param {Row<T>} row
   * @param {number} index
   */
  function placeRow(row, index) {
    if (row.index === index) return;
    row.index = index;
    row.root.style.transform = `translateY(${index * rowHeight}px)`;
    setAttribute(row.root, 'aria-posinset', index + 1);
  }

  /** @param {KeyboardEvent} event */
  function moveFocus(event) {
    const row = rowAt(event.target);
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    // The items may have changed since the row was rendered.
    const current = items.findIndex(item => row.item && keyOf(item) === keyOf(row.item));
    const target = targetIndex(event.key, current < 0 ? row.index : current);
    if (target === undefined) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(items.length - 1, target));
    root.scrollTop = Math.min(index * rowHeight, Math.max(root.scrollTop, (index + 1) * rowHeight - viewHeight));
    focusedKey = keyOf(items[index]);
    render();
    rows.get(focusedKey)?.content.root.focus({ preventScroll: true });
  }

  /**
   * Returns the index that a key moves to.
   * @param {string} key
   * @param {number} index
   */
  function targetIndex(key, index) {
    const pageSize = Math.floor(viewHeight / rowHeight) || 1;
    switch (key) {
      case 'ArrowDown':
      case 'j':
        return index + 1;
      case 'ArrowUp':
      case 'k':
        return index - 1;
      case 'Home':
        return 0;
      case 'End':
        return Infinity;
      case 'PageDown':
        return index + pageSize;
      case 'PageUp':
        return index - pageSize;
    }
    return undefined;
  }

  return {
    root,
    get items() {
      return items;
    },
    set items(newItems) {
      items = newItems;
    },
    render,
    isInUse: () => orderHeldMs() > 0,
    focusedItem: () => rowAt(document.activeElement)?.item
  };
}
