// Shows a timeline (timeline.js): rows of any height, of which a moving window has elements.
// The view follows the newest row until the reader scrolls up; then the visible rows keep their position.

import { element, setText, setAttribute, setHidden } from './dom.js';
import { formatDay, formatDayUnlessToday } from './format.js';

/** Rows that have elements at the same time. */
const WINDOW_ROWS = 60;
/** Rows the window moves by when it is scrolled. */
const STEP_ROWS = 30;
/** The window moves when an edge of what is drawn is this close, in pixels. */
const NEAR_EDGE_PX = 500;
/** The view follows the newest row when the end is this close, in pixels. */
const AT_END_PX = 30;

export class TimelineView {
  /**
   * Indexes count rows since the timeline was loaded; see `rows.firstIndex` in timeline.js.
   * @param options
   *   label: accessible name
   *   ariaLive: 'polite' or 'off'
   *   createRow(): the element of one row
   *   fillRow(element, row, previousRow): updates it
   *   loadOlder(timeline), loadNewer(timeline): load the next page in that direction
   *   loadLatest(timeline): reloads the end
   */
  constructor(options) {
    Object.assign(this, options, {
      windowStart: 0,
      windowEnd: 0,
      drawnStart: 0,
      drawnEnd: 0,
      seenEnd: 0,
      following: true
    });
    this.body = element('div.timeline-body');
    this.scroller = element(
      'div.timeline',
      {
        role: 'log',
        'aria-label': options.label,
        'aria-live': options.ariaLive,
        tabindex: 0,
        onscroll: () => this.onScroll()
      },
      this.body
    );
    this.jumpButton = element(
      'button.jump',
      { type: 'button', hidden: true, onclick: () => this.followLatest() },
      'Latest ↓'
    );
    this.root = element('div.timeline-frame', this.scroller, this.jumpButton);
    new ResizeObserver(() => this.following && this.scrollToEnd()).observe(this.scroller);
  }

  followLatest() {
    if (this.rows?.detached) return this.loadLatest(this.timeline);
    this.following = true;
    this.render();
  }

  /** Selects the row at `position` (a message_seq or an event id). Returns false if it has to be loaded first. */
  selectPosition(position) {
    const { rows, first, last, positionOf } = this.timeline;
    if ((position < first && !rows.complete) || (position > last && rows.detached)) return false;
    const offset = rows.findIndex(row => positionOf(row.event) >= position || row.result?.id === position);
    this.select(rows.firstIndex + (offset < 0 ? rows.length : offset));
    return true;
  }

  /** Scrolls to the row with this index and marks it. */
  select(wantedIndex) {
    const { rows, scroller, body } = this;
    const lastIndex = rows.firstIndex + rows.length - 1;
    const index = Math.max(rows.firstIndex, Math.min(lastIndex, wantedIndex));
    this.selected = index;
    this.following = false;
    this.windowStart = index - STEP_ROWS;
    this.windowEnd = this.windowStart + WINDOW_ROWS;
    this.render();
    const rowElement = body.children[index - this.drawnStart];
    if (!rowElement) return;
    scroller.scrollTop = rowElement.offsetTop - scroller.clientHeight / 3;
    body.querySelector('[data-selected]')?.removeAttribute('data-selected');
    setAttribute(rowElement, 'data-selected', true);
  }

  scrollToEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  onScroll() {
    const { scroller, rows } = this;
    if (!rows) return;
    const endIndex = rows.firstIndex + rows.length;
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    // Compared with the end that is drawn, not with the end of the rows: rows arrive between a frame and its scroll event.
    this.following = below < AT_END_PX && this.windowEnd >= this.drawnEnd && !rows.detached;
    if (scroller.scrollTop < NEAR_EDGE_PX) {
      if (this.windowStart > rows.firstIndex) {
        this.windowStart -= STEP_ROWS;
        this.windowEnd = this.windowStart + WINDOW_ROWS;
      } else {
        this.loadOlder(this.timeline);
      }
    } else if (below < NEAR_EDGE_PX) {
      if (this.windowEnd < endIndex) {
        this.windowEnd += STEP_ROWS;
        this.windowStart = this.windowEnd - WINDOW_ROWS;
      } else if (rows.detached) {
        this.loadNewer(this.timeline);
      }
    }
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  render(timeline = this.timeline) {
    if (!timeline) return;
    this.timeline = timeline;
    const { body, scroller } = this;
    const { rows } = timeline;
    const startIndex = rows.firstIndex;
    const endIndex = startIndex + rows.length;
    this.drawnEnd = endIndex;
    if (rows !== this.rows || rows.generation !== this.generation) {
      this.rows = rows;
      this.generation = rows.generation;
      this.following = true;
      this.selected = null;
      body.replaceChildren();
    }
    if (this.following) {
      this.windowEnd = this.seenEnd = endIndex;
      this.windowStart = Math.max(startIndex, endIndex - WINDOW_ROWS);
    } else {
      this.windowStart = Math.max(startIndex, Math.min(this.windowStart, endIndex));
      this.windowEnd = Math.min(endIndex, this.windowStart + WINDOW_ROWS);
    }
    rows.firstVisible = this.following ? Infinity : this.windowStart;
    // While the reader is not following, one row keeps its position on the screen: remember it, restore it after the change.
    const drawn = body.children;
    const anchorPlace = Math.min(drawn.length - 1, Math.max(0, this.windowStart - this.drawnStart));
    const anchor = !this.following && drawn[anchorPlace];
    const anchorTop = anchor && anchor.offsetTop - scroller.scrollTop;
    this.updateRows(rows.slice(this.windowStart - startIndex, this.windowEnd - startIndex), startIndex);
    this.drawnStart = this.windowStart;
    this.redrawAll = false;
    if (this.following) this.scrollToEnd();
    else if (anchor && anchor.parentNode) scroller.scrollTop = anchor.offsetTop - anchorTop;
    setHidden(this.jumpButton, this.following);
    if (this.following) return;
    // At the very top the browser sends no more scroll events: show an older page that has been loaded.
    if (this.windowStart > startIndex && scroller.scrollTop < NEAR_EDGE_PX) this.onScroll();
    setText(this.jumpButton, endIndex > this.seenEnd ? endIndex - this.seenEnd + ' new ↓' : 'Latest ↓');
  }

  updateRows(wantedRows, startIndex) {
    const { body, rows } = this;
    const drawn = body.children;
    const wanted = new Set(wantedRows);
    const unused = [...drawn].filter(rowElement => !wanted.has(rowElement.row));
    for (const rowElement of unused) rowElement.remove();
    wantedRows.forEach((row, place) => {
      // The remaining elements are in order, so a missing one is inserted before the next of them.
      const rowElement =
        drawn[place]?.row === row
          ? drawn[place]
          : body.insertBefore(unused.pop() || this.createRow(), drawn[place] || null);
      const index = this.windowStart + place;
      const previous = rows[index - startIndex - 1];
      const unchanged =
        rowElement.row === row && rowElement.version === row.version && rowElement.previous === previous;
      if (unchanged && !row.running && !this.redrawAll) return;
      Object.assign(rowElement, { row, version: row.version, previous });
      setAttribute(rowElement, 'data-selected', this.selected === index);
      const time = row.event.created_at;
      const startsDay = previous
        ? formatDay(time) !== formatDay(previous.event.created_at)
        : formatDayUnlessToday(time);
      setAttribute(rowElement, 'data-day', startsDay ? formatDay(time) : null);
      this.fillRow(rowElement, row, previous);
    });
  }
}
