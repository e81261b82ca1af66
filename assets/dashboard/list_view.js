// A list of rows of equal height. Only the rows in sight have elements, which are recycled:
// thousands of items need about one screenful of nodes.

import { element, setAttribute } from './dom.js';

/** Milliseconds after the last pointer move or key press in which the order of the list must not change. */
const IN_USE_MS = 2500;
const ROWS_ABOVE = 4;
const ROWS_BELOW = 8;
/** `onNearEnd` is called when the lower edge is this close to the end, in pixels. */
const NEAR_END_PX = 600;

export class ListView {
  /**
   * @param options
   *   label: accessible name
   *   rowHeight: pixels
   *   keyOf(item): identity of an item
   *   createRow(): the link that shows one item
   *   fillRow(link, item): updates it
   *   onNearEnd(): optional, loads more items
   */
  constructor(options) {
    Object.assign(this, options, { items: [], elements: new Map(), viewHeight: 0, lastInput: -Infinity });
    this.space = element('div.list-space', { role: 'list', 'aria-label': options.label });
    this.root = element('div.list', this.space);
    const noteInput = () => {
      this.lastInput = performance.now();
    };
    this.root.onscroll = () => {
      this.renderNextFrame();
      const bottom = this.root.scrollTop + this.viewHeight;
      if (bottom > this.items.length * options.rowHeight - NEAR_END_PX) options.onNearEnd?.();
    };
    this.root.onpointermove = noteInput;
    this.root.addEventListener('focusin', event => {
      this.focusedKey = this.keyOf(this.items[event.target.closest('.row').index]);
    });
    this.root.onkeydown = event => {
      noteInput();
      this.moveFocus(event);
    };
    new ResizeObserver(() => {
      this.viewHeight = this.root.clientHeight;
      this.renderNextFrame();
    }).observe(this.root);
  }

  /** Returns whether the list was used a moment ago, so that its order must not change now. */
  isInUse() {
    return performance.now() - this.lastInput < IN_USE_MS;
  }

  renderNextFrame() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  /** Shows `items`; the one with the key `current` is marked as current. */
  render(items = this.items, current = this.current) {
    this.items = items;
    this.current = current;
    const { rowHeight, elements, space } = this;
    const count = items.length;
    const start = Math.max(0, Math.floor(this.root.scrollTop / rowHeight) - ROWS_ABOVE);
    const end = Math.min(count, start + Math.ceil(this.viewHeight / rowHeight) + ROWS_BELOW);
    if (this.renderedCount !== count) {
      this.renderedCount = count;
      space.style.height = count * rowHeight + 'px';
    }
    const wanted = new Map();
    for (let index = start; index < end; index++) wanted.set(this.keyOf(items[index]), index);
    const unused = [];
    for (const [key, row] of elements) {
      // The row with the focus is never recycled: the focus would jump to another item.
      if (!wanted.has(key) && !row.contains(document.activeElement)) {
        elements.delete(key);
        unused.push(row);
      }
    }
    // The whole list has one tab stop; the arrow keys move within it.
    const tabStop = [this.focusedKey, current].find(key => wanted.has(key)) ?? wanted.keys().next().value;
    for (const [key, index] of wanted) {
      let row = elements.get(key) || unused.pop();
      if (!row) {
        row = element('div.row', { role: 'listitem' }, this.createRow());
        space.append(row);
      }
      elements.set(key, row);
      if (row.index !== index) {
        row.index = index;
        row.style.transform = `translateY(${index * rowHeight}px)`;
        setAttribute(row, 'aria-posinset', index + 1);
      }
      setAttribute(row, 'aria-setsize', count);
      const link = row.firstChild;
      const tabIndex = key === tabStop ? 0 : -1;
      this.fillRow(link, items[index]);
      if (link.tabIndex !== tabIndex) link.tabIndex = tabIndex;
      setAttribute(link, 'aria-current', key === current);
    }
    for (const row of unused) row.remove();
  }

  moveFocus(event) {
    const row = event.target.closest('.row');
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const { rowHeight, root, viewHeight, items } = this;
    const pageSize = Math.floor(viewHeight / rowHeight) || 1;
    const target = {
      ArrowDown: row.index + 1,
      j: row.index + 1,
      ArrowUp: row.index - 1,
      k: row.index - 1,
      Home: 0,
      End: Infinity,
      PageDown: row.index + pageSize,
      PageUp: row.index - pageSize
    }[event.key];
    if (target == null) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(items.length - 1, target));
    root.scrollTop = Math.min(index * rowHeight, Math.max(root.scrollTop, (index + 1) * rowHeight - viewHeight));
    this.focusedKey = this.keyOf(items[index]);
    this.render();
    this.elements.get(this.focusedKey).firstChild.focus({ preventScroll: true });
  }
}
