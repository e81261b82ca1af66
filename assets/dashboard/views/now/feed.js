// The feed on Now: a list of all events, newest first.

/** @import { FeedEntry, Author, ListOptions } from '../../types.d.ts' */

import { setTone } from '../../components/labels.js';
import { ListView } from '../../components/list_view.js';
import { Item } from '../../components/lists.js';
import { agentAuthor, authorOf, displayName } from '../../authors.js';
import { routeToRow } from '../../routes.js';
import { oneLine } from '../../safe_text.js';
import { stepLabel, stepSummary } from '../../steps.js';

/**
 * Returns what the feed shows of a row.
 * @param {FeedEntry} entry
 * @returns {{ author: Author, where: string, text?: string, tone?: string }}
 */
function describe({ type, row }) {
  switch (type) {
    case 'message':
      return { author: authorOf(row), where: row.thread_id, text: row.subject || row.content, tone: row.kind };
    case 'mail':
      return { author: authorOf(row), where: displayName(row.to_inbox), text: row.title || row.payload, tone: 'mail' };
    case 'task':
      return {
        author: agentAuthor(row.agent_id || row.task_id),
        where: stepLabel(row),
        text: stepSummary(row),
        tone: row.stream_type
      };
  }
}

function createRow() {
  const item = Item();
  return {
    root: item.root,
    /** @param {FeedEntry} entry */
    set(entry) {
      const { author, where, text, tone } = describe(entry);
      item.set({
        href: routeToRow(entry.row),
        author,
        title: author.label,
        snippet: [oneLine(where, 40), oneLine(text, 120)].filter(Boolean).join(': '),
        time: entry.time
      });
      setTone(item.root, tone);
    }
  };
}

/** @type {ListOptions<FeedEntry>} */
const OPTIONS = { label: 'Activity, newest first', rowHeight: 30, keyOf: entry => entry.key, createRow };

export const Feed = () => ListView(OPTIONS);
