// A table that can be saved as a CSV file.

import { download, element, setAttribute } from '../../dom.js';
import { button } from '../../components/forms.js';

/**
 * @template T
 * @typedef {object} Column
 * @property {string} heading
 * @property {keyof T} field in the CSV file
 * @property {(item: T) => Node | string} content of a cell
 */

/**
 * Quotes a CSV cell; a leading apostrophe keeps spreadsheets from running it as a formula.
 * @param {unknown} value
 */
function csvCell(value) {
  if (typeof value === 'number') return value;
  const text = String(value ?? '')
    .replace(/^[=+\-@\t\r]/, "'$&")
    .replace(/"/g, '""');
  return `"${text}"`;
}

/**
 * @template T
 * @param {string} caption
 * @param {Column<T>[]} columns
 * @param {T[]} items
 * @param {string} range the period, for the name of the file
 */
export function Table(caption, columns, items, range) {
  const downloadCsv = () => {
    const lines = [
      columns.map(({ heading }) => heading),
      ...items.map(item => columns.map(({ field }) => csvCell(item[field])))
    ];
    download(`agenthub ${caption}, ${range}.csv`, lines.join('\r\n'));
  };
  const csvButton = button('CSV', downloadCsv);
  setAttribute(csvButton, 'aria-label', 'Download CSV: ' + caption);
  const row = (/** @type {T} */ item) => {
    const [first, ...others] = columns.map(({ content }) => content(item));
    return element('tr', element('th', { scope: 'row' }, first), ...others.map(cell => element('td', cell)));
  };
  return element(
    'div.scroll',
    { tabindex: 0, role: 'group', 'aria-label': caption },
    element(
      'table',
      element('caption', caption, csvButton),
      element('thead', element('tr', ...columns.map(({ heading }) => element('th', { scope: 'col' }, heading)))),
      element('tbody', ...items.map(row))
    )
  );
}
