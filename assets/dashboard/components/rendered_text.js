// A text of a row, as the tree that the hub renders. Until the tree arrives, and if there is none, the text is plain.

/** @import { RenderedSource, RenderedTree } from '../types.d.ts' */

import { element, setText, setAttribute } from '../dom.js';
import { safeText } from '../safe_text.js';
import { cachedTree, isSameSource, loadTrees } from '../sync/rendered.js';
import { button } from './forms.js';
import { buildBlocks } from './rendered_blocks.js';

/** Minimum time between two requests: rows may arrive faster than the hub renders. */
const REQUEST_INTERVAL_MS = 100;
/** What Markdown, JSON, diffs and terminal output have. A prose text without it is plain. */
const HAS_MARKUP = /[`*_#>|~[\]<&\\{}=+\x00-\x08\x0b-\x1f]|:\/\/|--|^\s*(-|\d+[.)])|^( {4}|\t)/m;

/** Of a longer plain text, the rest is shown when the reader asks for it. In UTF-16 units. */
const MAX_PLAIN = 20000;

const PROSE_FIELDS = new Set(['content', 'payload', 'text']);

/** @param {RenderedSource} source */
const needsTree = ({ field, text }) => !PROSE_FIELDS.has(field) || HAS_MARKUP.test(text);

/**
 * A component that waits for a tree. `show` takes undefined if the tree could not be loaded.
 * @typedef {{ root: HTMLElement, source: RenderedSource, show: (tree: RenderedTree | undefined) => void }} Request
 */

/** @type {Set<Request>} */
const waiting = new Set();
let isLoading = false;

/**
 * A text of a row.
 * @param {'div.text' | 'div.mail-body'} selector
 */
export function RenderedText(selector) {
  const root = element(selector, { dir: 'auto' });
  // A plain text is one text node, which is updated in place.
  let isPlain = true;
  /** @type {RenderedSource | undefined} */
  let shown;
  /** @type {Request | undefined} */
  let request;

  /** @param {string} text */
  function showPlain(text) {
    if (!isPlain || root.childElementCount) root.replaceChildren();
    isPlain = true;
    setAttribute(root, 'data-rendered', null);
    setText(root, safeText(text, MAX_PLAIN));
    if (text.length > MAX_PLAIN) {
      root.append(
        button('Show all', () => {
          root.replaceChildren(safeText(text, text.length));
          root.tabIndex = -1;
          root.focus();
        })
      );
    }
  }

  /** @param {RenderedTree} tree */
  function showTree({ blocks, plain }) {
    if (plain) return;
    isPlain = false;
    setAttribute(root, 'data-rendered', true);
    root.replaceChildren(...buildBlocks(blocks));
  }

  function cancelRequest() {
    if (request) waiting.delete(request);
    request = undefined;
  }

  return {
    root,
    /**
     * Shows a text of a row.
     * @param {RenderedSource} source
     */
    set(source) {
      if (isSameSource(shown, source)) return;
      shown = source;
      cancelRequest();
      const tree = cachedTree(source);
      if (!tree || tree.plain) showPlain(source.text);
      if (tree) return showTree(tree);
      if (!needsTree(source)) return;
      request = {
        root,
        source,
        show(loadedTree) {
          request = undefined;
          if (loadedTree) showTree(loadedTree);
          // The tree is requested again when the text is shown again.
          else shown = undefined;
        }
      };
      waiting.add(request);
      void loadWaiting();
    },
    /**
     * Shows a text of the page itself, without markup.
     * @param {string} text
     */
    setPlain(text) {
      shown = undefined;
      cancelRequest();
      showPlain(text);
    }
  };
}

/** Loads the trees that components wait for, one request at a time. */
async function loadWaiting() {
  if (isLoading) return;
  isLoading = true;
  // Components that are shown in the same frame share a request.
  let delayMs = 0;
  while (waiting.size) {
    await new Promise(resolve => setTimeout(resolve, delayMs));
    delayMs = REQUEST_INTERVAL_MS;
    await loadBatch();
  }
  isLoading = false;
}

/** @param {Request} request */
function finish(request, /** @type {RenderedTree | undefined} */ tree) {
  // A component that shows another text now has removed its request.
  if (waiting.delete(request)) request.show(tree);
}

async function loadBatch() {
  for (const request of waiting) if (!request.root.isConnected) finish(request, undefined);
  const requests = [...waiting];
  if (!requests.length) return;
  try {
    const trees = await loadTrees(requests.map(({ source }) => source));
    const answered = requests.filter(({ source }) => trees.has(source));
    keepScrollPositions(() => answered.forEach(request => finish(request, trees.get(request.source))));
  } catch {
    // The texts stay plain.
    for (const request of requests) finish(request, undefined);
  }
}

/**
 * Runs a function that changes elements. What the reader sees in a timeline stays where it is, or at the end.
 * @param {() => void} change
 */
function keepScrollPositions(change) {
  const positions = [...document.querySelectorAll('.timeline')].map(scroller => {
    const { top } = scroller.getBoundingClientRect();
    const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 30;
    const rows = [...scroller.querySelectorAll(':scope > .timeline-body > *')];
    const anchor = rows.find(row => row.getBoundingClientRect().bottom > top);
    return { scroller, isAtEnd, anchor, anchorTop: anchor?.getBoundingClientRect().top ?? 0 };
  });
  change();
  for (const { scroller, isAtEnd, anchor, anchorTop } of positions) {
    if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
    else if (anchor) scroller.scrollTop += anchor.getBoundingClientRect().top - anchorTop;
  }
}
