// Tasks: a table of all tasks, and one task with its steps.

/** @import { Topics, View } from '../types.d.ts' */

import { element, setHidden, setAttribute } from '../dom.js';
import { routeTo, queryString } from '../routes.js';
import { TaskDetail } from './tasks/detail.js';
import { TaskTable } from './tasks/table.js';

/** @returns {View} */
export default function TasksView() {
  /** The open task; empty while the table is shown. */
  let id = '';
  const table = TaskTable();
  const detail = TaskDetail();
  const root = element('div.tasks', table.root, detail.root);

  /**
   * Opens the previous or the next task of the table.
   * @param {number} offset
   */
  function openNeighbour(offset) {
    const items = table.items();
    const neighbour = items[items.findIndex(task => task.task_id === id) + offset];
    if (!id || !neighbour) return;
    const query = location.hash.replace(/^[^?]*/, '');
    location.hash = routeTo('tasks', neighbour.task_id) + query;
  }

  return {
    root,
    get title() {
      return id ? detail.title() : 'Tasks';
    },
    keys: {
      f: () => detail.followLatest(),
      w: () => detail.toggleWaterfall(),
      e: () => id && detail.goToError(1),
      E: () => id && detail.goToError(-1),
      c: () => id && detail.toggleTurns(),
      s: () => id && detail.search.focus(),
      n: () => id && detail.search.next(),
      N: () => id && detail.search.previous(),
      '[': () => openNeighbour(-1),
      ']': () => openNeighbour(1),
      m: () => id && detail.openMessage()
    },
    route([taskId = '', eventId], params) {
      const query = params.get('q') || '';
      const suffix = queryString({ q: query });
      id = taskId;
      table.route(suffix, query);
      if (id) detail.route(suffix, id, eventId);
      setAttribute(root, 'data-detail', id || null);
      setHidden(table.root, !!id);
      setHidden(detail.root, !id);
    },
    /** @param {Topics} topics */
    render(topics) {
      if (id) {
        table.update(topics);
        detail.render(topics);
      } else {
        table.render(topics);
      }
    }
  };
}
