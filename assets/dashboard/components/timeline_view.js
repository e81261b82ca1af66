// Shows a timeline (store/timeline.js): rows of any height, of which a moving window has elements.
// The view follows the newest row until the reader scrolls up; then the visible rows keep their position.
// Indexes count rows since the timeline was loaded; see `firstIndex` of its rows.

/** @import { ShownRows, Timeline, TimelineRow, TimelineRowComponent, TimelineViewOptions } from '../types.d.ts' */

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
 * Returns the index after the last row.
 * @param {{ firstIndex: number, length: number }} rows
 */
const endIndex = rows => rows.firstIndex + rows.length;

/**
 * @template {{ created_at: number }} E
 */
export class TimelineView {
  /** Whether the view follows the newest row. */
  following = true;
  /** @type {TimelineRow<E> | null} */
  selectedRow = null;

  #options;
  #scroller;
  #jumpButton;
  #body = element('div.timeline-body');
  /** @type {Timeline<E> | undefined} */
  #timeline;
  /** The rows of the timeline as of the last rendering: reloading replaces them. */
  /** @type {Timeline<E>['rows'] | undefined} */
  #rows;
  /** @type {ShownRows<E>} The rows that are shown. */
  #shown = Object.assign([], { firstIndex: 0 });
  /** @type {number | undefined} */
  #layout;
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
  /** The window has moved since the last rendering. */
  #isMoved = false;
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
   * Returns the row at a position (a message_seq or an event id), or the last one before the end; undefined if it has to
   * be loaded first.
   * @param {number} position
   */
  rowAtPosition(position) {
    if (!this.#timeline) return undefined;
    const { rows, first, last, positionOf } = this.#timeline;
    if ((position < first && !rows.complete) || (position > last && rows.detached)) return undefined;
    return rows.find(row => positionOf(row.event) >= position || row.result?.id === position) || rows.at(-1);
  }

  /**
   * Scrolls to a row and marks it.
   * @param {TimelineRow<E>} row
   */
  select(row) {
    const index = this.#shown.indexOf(row);
    if (index < 0) return;
    this.selectedRow = row;
    this.following = false;
    this.#windowStart = this.#shown.firstIndex + index - STEP_ROWS;
    this.#windowEnd = this.#windowStart + WINDOW_ROWS;
    this.render();
    const node = this.#drawn.find(drawn => drawn.row === row)?.component.root;
    if (!node) return;
    this.#scroller.scrollTop = node.offsetTop - this.#scroller.clientHeight / 3;
    this.#body.querySelector('[data-selected]')?.removeAttribute('data-selected');
    setAttribute(node, 'data-selected', true);
  }

  /**
   * @param {Timeline<E> | undefined} timeline
   * @param {ShownRows<E>} [shown] the rows to show; unless given, those of the last rendering of the same rows, or all
   */
  render(timeline = this.#timeline, shown) {
    if (!timeline) return;
    this.#timeline = timeline;
    const isReloaded = this.#startOverIfReloaded(timeline);
    const isFiltered = !!this.#shown.sources && !isReloaded;
    this.#shown = shown || (isFiltered ? this.#shown : timeline.rows);
    const anchor = this.#anchor();
    this.#moveWindow(timeline, anchor?.row);
    this.#drawRows();
    this.#drawnStart = this.#windowStart;
    this.#layout = this.#shown.layout;
    this.#redrawsAll = this.#isMoved = false;
    const isAnchored = this.#drawn.some(({ row, component }) => row === anchor?.row && component.root === anchor?.node);
    if (this.following) this.#scrollToEnd();
    else if (anchor && isAnchored) this.#scroller.scrollTop = anchor.node.offsetTop - anchor.top;
    setHidden(this.#jumpButton, this.following);
    if (this.following) return;
    // At the very top the browser sends no more scroll events: show an older page that has been loaded.
    if (this.#windowStart > this.#shown.firstIndex && this.#scroller.scrollTop < NEAR_EDGE_PX) this.#onScroll();
    const newCount = endIndex(timeline.rows) - this.#seenEnd;
    setText(this.#jumpButton, newCount > 0 ? newCount + ' new ↓' : 'Latest ↓');
  }

  /** @param {Timeline<E>} timeline */
  #startOverIfReloaded({ rows }) {
    if (rows === this.#rows && rows.generation === this.#generation) return false;
    this.#rows = rows;
    this.#generation = rows.generation;
    this.following = true;
    this.selectedRow = null;
    this.#drawn = [];
    this.#body.replaceChildren();
    return true;
  }

  /**
   * @param {Timeline<E>} timeline
   * @param {TimelineRow<E> | undefined} anchorRow
   */
  #moveWindow({ rows }, anchorRow) {
    const shown = this.#shown;
    const startIndex = shown.firstIndex;
    const end = endIndex(shown);
    if (shown.layout !== this.#layout && anchorRow) {
      // Rows have been shown or hidden: the window moves with the row that keeps its place.
      this.#windowStart = startIndex + shown.indexOf(anchorRow) - STEP_ROWS;
    }
    this.#drawnEnd = end;
    if (this.following) {
      this.#seenEnd = endIndex(rows);
      this.#windowEnd = end;
      this.#windowStart = Math.max(startIndex, end - WINDOW_ROWS);
    } else {
      this.#windowStart = Math.max(startIndex, Math.min(this.#windowStart, end));
      this.#windowEnd = Math.min(end, this.#windowStart + WINDOW_ROWS);
    }
    const firstVisible = shown.sources ? shown.sources[this.#windowStart - startIndex] : this.#windowStart;
    rows.firstVisible = this.following ? Infinity : (firstVisible ?? rows.firstIndex);
  }

  /** Returns a row, and its place on the screen, that it keeps while the reader is not following. */
  #anchor() {
    if (this.following) return null;
    const { scrollTop } = this.#scroller;
    const stays = this.#shown.layout === this.#layout ? null : new Set(this.#shown);
    const start = Math.max(this.#shown.firstIndex, Math.min(this.#windowStart, endIndex(this.#shown)));
    const isInWindow = (/** @type {number} */ place) =>
      this.#drawnStart + place >= start && this.#drawnStart + place < start + WINDOW_ROWS;
    for (const [place, { row, component }] of this.#drawn.entries()) {
      const node = component.root;
      const isKept = stays ? row && stays.has(row) : isInWindow(place);
      if (!row || !isKept || node.offsetTop + node.offsetHeight <= scrollTop) continue;
      return { row, node, top: node.offsetTop - scrollTop };
    }
    return null;
  }

  /** Gives the rows of the window elements. Those of rows that have left the window are reused. */
  #drawRows() {
    const rows = this.#shown;
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
        this.#drawRow(next, row, previous);
        return next;
      }
      // The kept rows are in order, so a missing one is inserted before the next of them.
      const drawn = unused.pop() || { component: this.#options.createRow() };
      this.#body.insertBefore(drawn.component.root, next?.component.root ?? null);
      this.#drawRow(drawn, row, previous);
      return drawn;
    });
  }

  /**
   * @param {DrawnRow<E>} drawn
   * @param {TimelineRow<E>} row
   * @param {TimelineRow<E> | undefined} previous
   */
  #drawRow(drawn, row, previous) {
    const isUnchanged = drawn.row === row && drawn.version === row.version && drawn.previous === previous;
    if (isUnchanged && !row.running && !this.#redrawsAll) return;
    Object.assign(drawn, { row, version: row.version, previous });
    const { root } = drawn.component;
    setAttribute(root, 'data-selected', this.selectedRow === row);
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
    const below = scrollHeight - scrollTop - clientHeight;
    // Compared with the end that is drawn, not with the end of the rows: rows arrive between a frame and its scroll event.
    this.following = below < AT_END_PX && this.#windowEnd >= this.#drawnEnd && !rows.detached;
    if (!this.#isMoved) this.#moveAtEdge(this.#timeline, scrollTop, below);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.render();
    });
  }

  /**
   * Moves the window when the reader comes near an edge of what is drawn, or loads more rows at the end of those.
   * @param {Timeline<E>} timeline
   * @param {number} above pixels above what the reader sees
   * @param {number} below
   */
  #moveAtEdge(timeline, above, below) {
    const shown = this.#shown;
    if (above < NEAR_EDGE_PX) {
      this.#isMoved = this.#windowStart > shown.firstIndex;
      if (this.#isMoved) this.#windowStart -= STEP_ROWS;
      else this.#options.loadOlder(timeline);
    } else if (below < NEAR_EDGE_PX) {
      this.#isMoved = this.#windowEnd < endIndex(shown);
      if (this.#isMoved) this.#windowStart = this.#windowEnd + STEP_ROWS - WINDOW_ROWS;
      else if (timeline.rows.detached) this.#options.loadNewer(timeline);
    }
    if (this.#isMoved) this.#windowEnd = this.#windowStart + WINDOW_ROWS;
  }
}
