// When the page renders: once per animation frame at most, and parts that cost more than O(1) less often.

/** @import { Topic, Topics } from '../types.d.ts' */

/** Milliseconds between two builds of a list. */
const LIST_INTERVAL_MS = 250;

/** @type {Set<Topic>} */
let changed = new Set();
/** @type {(topics: Topics) => void} */
let renderer;
let frame = 0;
let timer = 0;

/**
 * Sets the function that renders the page.
 * @param {(topics: Topics) => void} render
 */
export function setRenderer(render) {
  renderer = render;
}

/**
 * Renders in the next frame.
 * @param {Topic} topic
 */
export function invalidate(topic) {
  changed.add(topic);
  frame ||= requestAnimationFrame(() => {
    const topics = changed;
    frame = 0;
    changed = new Set();
    renderer(topics);
  });
}

/** Renders again after the interval in which lists are not built again. */
export function renderLater() {
  timer ||= setTimeout(() => {
    timer = 0;
    invalidate('tick');
  }, LIST_INTERVAL_MS + 10);
}

/**
 * Returns a function that returns the list built by `build`. The list is built again if `topic` has changed, at most every
 * LIST_INTERVAL_MS, and not while it is in use: rows must not move under the pointer.
 * @template T
 * @param {Topic} topic
 * @param {() => T[]} build
 * @returns {(topics: Topics, isInUse: boolean) => T[]}
 */
export function throttledList(topic, build) {
  /** @type {T[]} */
  let list = [];
  let builtAt = -Infinity;
  let isStale = true;
  return (topics, isInUse) => {
    const now = performance.now();
    const isNewRoute = topics.has('all');
    if (topics.has(topic) || isNewRoute) isStale = true;
    const mayMove = !isInUse || !list.length;
    if (isStale && mayMove && (isNewRoute || now - builtAt > LIST_INTERVAL_MS)) {
      list = build();
      builtAt = now;
      isStale = false;
    }
    if (isStale) renderLater();
    return list;
  };
}
