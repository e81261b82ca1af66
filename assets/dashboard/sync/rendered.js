// Trees of rendered texts (GET /api/rendered), and a cache of those used last.

/** @import { RenderedSource, RenderedTree } from '../types.d.ts' */

import { get } from '../api.js';

const MAX_IDS = 100;
/** Maximum length of a request's ids: the hub limits the size of a request's head. */
const MAX_IDS_LENGTH = 8000;
const MAX_CACHED = 400;
/** UTF-16 units of the texts whose trees are kept. */
const MAX_CACHED_LENGTH = 4 << 20;

/** @type {Map<string, { text: string, tree: RenderedTree }>} By source, those used last at the end. */
const cache = new Map();
let cachedLength = 0;

/** @param {RenderedSource} source */
const keyOf = ({ kind, id, field }) => [kind, id, field].join('\n');

/**
 * Returns whether two sources are the same text of the same row.
 * @param {RenderedSource | undefined} a
 * @param {RenderedSource | undefined} b
 */
export const isSameSource = (a, b) => !!a && !!b && keyOf(a) === keyOf(b) && a.text === b.text;

/**
 * Returns the tree of a text if it was loaded.
 * @param {RenderedSource} source
 */
export function cachedTree(source) {
  const key = keyOf(source);
  const entry = cache.get(key);
  if (entry?.text !== source.text) return undefined;
  cache.delete(key);
  cache.set(key, entry);
  return entry.tree;
}

/**
 * @param {RenderedSource} source
 * @param {RenderedTree} tree
 */
function remember(source, tree) {
  const key = keyOf(source);
  cachedLength += source.text.length - (cache.get(key)?.text.length || 0);
  cache.delete(key);
  cache.set(key, { text: source.text, tree });
  for (const [oldestKey, { text }] of cache) {
    if (cache.size <= MAX_CACHED && cachedLength <= MAX_CACHED_LENGTH) break;
    cache.delete(oldestKey);
    cachedLength -= text.length;
  }
}

/**
 * Returns the sources of one kind that one request can have.
 * @param {RenderedSource[]} sources
 */
function firstBatch(sources) {
  const [{ kind }] = sources;
  const ids = new Set();
  let length = 0;
  return sources.filter(source => {
    if (source.kind !== kind) return false;
    const id = String(source.id);
    if (ids.has(id)) return true;
    length += encodeURIComponent(id).length + '&id='.length;
    if (ids.size && (ids.size === MAX_IDS || length > MAX_IDS_LENGTH)) return false;
    ids.add(id);
    return true;
  });
}

/**
 * Loads trees with one request. Returns those of the sources that it has answered, which may be only some: undefined
 * if there is no tree.
 * @param {RenderedSource[]} sources at least one
 * @returns {Promise<Map<RenderedSource, RenderedTree | undefined>>}
 */
export async function loadTrees(sources) {
  const batch = firstBatch(sources);
  const ids = [...new Set(batch.map(source => String(source.id)))];
  /** @type {{ items: { id: string, fields: Record<string, RenderedTree> }[], next: string | null }} */
  const { items, next } = await get(
    'rendered?' + new URLSearchParams([['kind', batch[0].kind], ...ids.map(id => ['id', id])])
  );
  const fieldsById = new Map(items.map(item => [item.id, item.fields]));
  // The response was full before the row `next`. A response without a row would otherwise be requested again and again.
  const left = new Set(next != null && items.length ? ids.slice(ids.indexOf(next)) : []);
  const trees = new Map();
  for (const source of batch) {
    if (left.has(String(source.id))) continue;
    const tree = fieldsById.get(String(source.id))?.[source.field];
    if (tree) remember(source, tree);
    trees.set(source, tree);
  }
  return trees;
}
