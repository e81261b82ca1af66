// Shows a timeline (store/timeline.js): rows of any height, of which a moving window has elements.
// The view follows the newest row until the reader scrolls up; then the visible rows keep their position.
// Indexes count rows since the timeline was loaded; see `firstIndex` of its rows.

/** @import { Timeline, TimelineRow, TimelineRowComponent, TimelineViewOptions } from '../types.d.ts' */

import { element, setText, setAttribute, setHidden } from '../dom.js';
import { formatDay, formatDayUnlessToday } from '../format.js';

/** Rows that have elements at the same time. */
const WINDOW_ROWS = 60;
/** Rows the window moves by when it is scrolled. */
const STEP_ROWS = 30;
/** The window moves when an edge of what is drawn is this close, in pixels. */
const NEAR_EDGE_PX = 500;
/** The view follows the newest row when the end is this close, in pixels. */
const AT_END_PX = 30;

/**
 * A row that has an element, and what it was drawn from.
 * @template E
 * @typedef {{
 *   component: TimelineRowComponent<E>,
 *   row?: TimelineRow<E>,
 *   version?: number,
 *   previous?: TimelineRow<E>
 * }} DrawnRow
 */

/**
 * @template {{ created_at: number }} E
 */
export class TimelineView {
  /** Whether the view follows the newest row. */
  following = true;
  /**
   * Index of the selected row.
   * @type {number | null}
   */
  selected = null;

  #options;
  #scroller;
  #jumpButton;
  #body = element('div.timeline-body');
  /** @type {Timeline<E> | undefined} */
  #timeline;
  /** The rows of the timeline as of the last rendering: reloading replaces them. */
  /** @type {Timeline<E>['rows'] | undefined} */
  #rows;
  #generation = 0;
  /** @type {DrawnRow<E>[]} The rows of the window, in order. */
  #drawn = [];
  /** The window, and its start when it was drawn. */
  #windowStart = 0;
  #windowEnd = 0;
  #drawnStart = 0;
  /** The end of the rows when they were drawn, and when the reader last saw the end. */
  #drawnEnd = 0;
  #seenEnd = 0;
  #redrawsAll = false;
  #frame = 0;

  /** @param {TimelineViewOptions<E>} options */
  constructor(options) {
    this.#options = options;
    this.#scroller = element(
      'div.timeline',
      {
        role: 'log',
        'aria-label': options.label,
        'aria-live': options.ariaLive,
        tabindex: 0,
        onscroll: () => this.#onScroll()
      },
      this.#body
    );
    this.#jumpButton = element(
      'button.jump',
      { type: 'button', hidden: true, onclick: () => this.followLatest() },
      'Latest ↓'
    );
    this.root = element('div.timeline-frame', this.#scroller, this.#jumpButton);
    new ResizeObserver(() => this.following && this.#scrollToEnd()).observe(this.#scroller);
  }

  /** Shows the newest row, and follows it. */
  followLatest() {
    if (this.#timeline && this.#rows?.detached) return this.#options.loadLatest(this.#timeline);
    this.following = true;
    this.render();
  }

  /** Draws every row of the window again with the next rendering. */
  redrawAll() {
    this.#redrawsAll = true;
  }

  /**
   * Selects the row at a position (a message_seq or an event id). Returns false if it has to be loaded first.
   * @param {number} position
   */
  selectPosition(position) {
    if (!this.#timeline) return false;
    const { rows, first, last, positionOf } = this.#timeline;
    if ((position < first && !rows.complete) || (position > last && rows.detached)) return false;
    const offset = rows.findIndex(row => positionOf(row.event) >= position || row.result?.id === position);
    this.select(rows.firstIndex + (offset < 0 ? rows.length : offset));
    return true;
  }

  /**
   * Scrolls to the row with this index and marks it.
   * @param {number} wantedIndex
   */
  select(wantedIndex) {
    const rows = this.#rows;
    if (!rows) return;
    const lastIndex = rows.firstIndex + rows.length - 1;
    const index = Math.max(rows.firstIndex, Math.min(lastIndex, wantedIndex));
    this.selected = index;
    this.following = false;
    this.#windowStart = index - STEP_ROWS;
    this.#windowEnd = this.#windowStart + WINDOW_ROWS;
    this.render();
    const node = this.#drawn[index - this.#drawnStart]?.component.root;
    if (!node) return;
    this.#scroller.scrollTop = node.offsetTop - this.#scroller.clientHeight / 3;
    this.#body.querySelector('[data-selected]')?.removeAttribute('data-selected');
    setAttribute(node, 'data-selected', true);
  }

  /** @param {Timeline<E> | undefined} timeline */
  render(timeline = this.#timeline) {
    if (!timeline) return;
    this.#timeline = timeline;
    this.#startOverIfReloaded(timeline);
    this.#moveWindow(timeline);
    const { rows } = timeline;
    const anchor = this.#anchor();
    this.#drawRows(timeline);
    this.#drawnStart = this.#windowStart;
    this.#redrawsAll = false;
    if (this.following) this.#scrollToEnd();
    else if (anchor?.node.parentNode) this.#scroller.scrollTop = anchor.node.offsetTop - anchor.top;
    setHidden(this.#jumpButton, this.following);
    if (this.following) return;
    // At the very top the browser sends no more scroll events: show an older page that has been loaded.
    if (this.#windowStart > rows.firstIndex && this.#scroller.scrollTop < NEAR_EDGE_PX) this.#onScroll();
    const newCount = rows.firstIndex + rows.length - this.#seenEnd;
    setText(this.#jumpButton, newCount > 0 ? newCount + ' new ↓' : 'Latest ↓');
  }

  /** @param {Timeline<E>} timeline */
  #startOverIfReloaded({ rows }) {
    if (rows === this.#rows && rows.generation === this.#generation) return;
    this.#rows = rows;
    this.#generation = rows.generation;
    this.following = true;
    this.selected = null;
    this.#drawn = [];
    this.#body.replaceChildren();
  }

  /** @param {Timeline<E>} timeline */
  #moveWindow({ rows }) {
    const startIndex = rows.firstIndex;
    const endIndex = startIndex + rows.length;
    this.#drawnEnd = endIndex;
    if (this.following) {
      this.#windowEnd = this.#seenEnd = endIndex;
      this.#windowStart = Math.max(startIndex, endIndex - WINDOW_ROWS);
    } else {
      this.#windowStart = Math.max(startIndex, Math.min(this.#windowStart, endIndex));
      this.#windowEnd = Math.min(endIndex, this.#windowStart + WINDOW_ROWS);
    }
    rows.firstVisible = this.following ? Infinity : this.#windowStart;
  }

  /** Returns a row, and its place on the screen, that it keeps while the reader is not following. */
  #anchor() {
    if (this.following) return null;
    const place = Math.min(this.#drawn.length - 1, Math.max(0, this.#windowStart - this.#drawnStart));
    const node = this.#drawn[place]?.component.root;
    return node && { node, top: node.offsetTop - this.#scroller.scrollTop };
  }

  /**
   * Gives the rows of the window elements. Those of rows that have left the window are reused.
   * @param {Timeline<E>} timeline
   */
  #drawRows({ rows }) {
    const startIndex = rows.firstIndex;
    const wantedRows = rows.slice(this.#windowStart - startIndex, this.#windowEnd - startIndex);
    const wanted = new Set(wantedRows);
    /** @type {DrawnRow<E>[]} */
    const kept = [];
    /** @type {DrawnRow<E>[]} */
    const unused = [];
    for (const drawn of this.#drawn) (drawn.row && wanted.has(drawn.row) ? kept : unused).push(drawn);
    for (const drawn of unused) drawn.component.root.remove();
    let nextKept = 0;
    this.#drawn = wantedRows.map((row, place) => {
      const next = kept[nextKept];
      const index = this.#windowStart + place;
      const previous = rows[index - startIndex - 1];
      if (next?.row === row) {
        nextKept++;
        this.#drawRow(next, row, previous, index);
        return next;
      }
      // The kept rows are in order, so a missing one is inserted before the next of them.
      const drawn = unused.pop() || { component: this.#options.createRow() };
      this.#body.insertBefore(drawn.component.root, next?.component.root ?? null);
      this.#drawRow(drawn, row, previous, index);
      return drawn;
    });
  }

  /**
   * @param {DrawnRow<E>} drawn
   * @param {TimelineRow<E>} row
   * @param {TimelineRow<E> | undefined} previous
   * @param {number} index
   */
  #drawRow(drawn, row, previous, index) {
    const isUnchanged = drawn.row === row && drawn.version === row.version && drawn.previous === previous;
    if (isUnchanged && !row.running && !this.#redrawsAll) return;
    Object.assign(drawn, { row, version: row.version, previous });
    const { root } = drawn.component;
    setAttribute(root, 'data-selected', this.selected === index);
    const time = row.event.created_at;
    const startsDay = previous
      ? formatDay(time) !== formatDay(previous.event.created_at)
      : formatDayUnlessToday(time);
    setAttribute(root, 'data-day', startsDay ? formatDay(time) : null);
    drawn.component.set(row, previous);
  }

  #scrollToEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #onScroll() {
    const rows = this.#rows;
    if (!rows || !this.#timeline) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const endIndex = rows.firstIndex + rows.length;
    const below = scrollHeight - scrollTop - clientHeight;
    // Compared with the end that is drawn, not with the end of the rows: rows arrive between a frame and its scroll event.
    this.following = below < AT_END_PX && this.#windowEnd >= this.#drawnEnd && !rows.detached;
    if (scrollTop < NEAR_EDGE_PX) {
      if (this.#windowStart > rows.firstIndex) {
        this.#windowStart -= STEP_ROWS;
        this.#windowEnd = this.#windowStart + WINDOW_ROWS;
      } else {
        this.#options.loadOlder(this.#timeline);
      }
    } else if (below < NEAR_EDGE_PX) {
      if (this.#windowEnd < endIndex) {
        this.#windowEnd += STEP_ROWS;
        this.#windowStart = this.#windowEnd - WINDOW_ROWS;
      } else if (rows.detached) {
        this.#options.loadNewer(this.#timeline);
      }
    }
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.render();
    });
  }
}
