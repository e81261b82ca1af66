// Shown when the first row of an empty database arrives: a link to it, and what to do next.

/** @import { FeedEntry } from '../../types.d.ts' */

import { element, setAttribute, setHidden, setText } from '../../dom.js';
import { state } from '../../store.js';
import { invalidate } from '../../store/schedule.js';
import { CommandList } from '../../components/commands.js';
import { button } from '../../components/forms.js';
import { routeToRow } from '../../routes.js';
import { safeText } from '../../safe_text.js';

/** @param {FeedEntry} entry */
function placeOf({ type, row }) {
  if (type === 'message') return 'the thread ' + safeText(row.thread_id, 60);
  return type === 'mail' ? 'the inbox of ' + safeText(row.to_inbox, 60) : 'the task ' + safeText(row.task_id, 60);
}

export function FirstRow() {
  let wasEmpty = false;
  /** @type {FeedEntry | undefined} */
  let first;
  const link = element('a');
  const commands = CommandList();
  const root = element(
    'section.first-row',
    { hidden: true },
    element('h2', 'The first row has arrived'),
    element('p', 'It is in ', link, '.'),
    element('p', 'Next, connect your agents, then write to them here (m):'),
    commands.root,
    button('Dismiss', () => {
      wasEmpty = false;
      first = undefined;
      invalidate('all');
    })
  );
  return {
    root,
    /** @param {boolean} isEmpty the database has no rows */
    set(isEmpty) {
      if (isEmpty) wasEmpty = true;
      // The feed is newest first.
      if (wasEmpty && !isEmpty) first ||= state.feed.at(-1);
      setHidden(root, !first || isEmpty);
      if (!first) return;
      setText(link, placeOf(first));
      setAttribute(link, 'href', routeToRow(first.row));
      commands.set(['init', 'run']);
    }
  };
}
