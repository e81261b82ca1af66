// The dialog that lists the keyboard shortcuts (?), and turns single-key shortcuts on and off.

/** @import { CommandEntry } from './types.d.ts' */

import { element } from './dom.js';
import { Dialog } from './components/forms.js';

/** The keys of the views, in addition to the commands that have a key. */
const VIEW_SHORTCUTS = [
  { label: 'Next, previous', keys: 'j k' },
  { label: 'First, last', keys: 'Home End' },
  { label: 'Page up, page down', keys: 'PgUp PgDn' },
  { label: 'Open', keys: 'Enter o' },
  { label: 'Back', keys: 'Esc' },
  { label: 'Reply', keys: 'r' },
  { label: 'Mark as read or unread', keys: 'a' },
  { label: 'Send', keys: 'Ctrl Enter' },
  { label: 'Search, also in a field', keys: 'Ctrl K' },
  { label: 'Previous, next task', keys: '[ ]' },
  { label: 'Next, previous error', keys: 'e E' },
  { label: 'Search in the task', keys: 's' },
  { label: 'Next, previous match', keys: 'n N' },
  { label: 'Expand or collapse turns', keys: 'c' },
  { label: 'Follow latest', keys: 'f' },
  { label: 'Show waterfall', keys: 'w' }
];
/** @type {HTMLDialogElement | undefined} */
let dialog;

/**
 * Opens or closes the dialog.
 * @param {CommandEntry[]} commands
 * @param {boolean} singleKeysEnabled
 * @param {(enabled: boolean) => void} onToggleSingleKeys
 */
export function toggleShortcuts(commands, singleKeysEnabled, onToggleSingleKeys) {
  dialog ||= createDialog(commands, singleKeysEnabled, onToggleSingleKeys);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/**
 * @param {CommandEntry[]} commands
 * @param {boolean} singleKeysEnabled
 * @param {(enabled: boolean) => void} onToggleSingleKeys
 */
function createDialog(commands, singleKeysEnabled, onToggleSingleKeys) {
  const checkbox = element('input', { type: 'checkbox', onchange: () => onToggleSingleKeys(checkbox.checked) });
  checkbox.checked = singleKeysEnabled;
  const rows = [...commands.filter(({ keys }) => keys), ...VIEW_SHORTCUTS].map(({ label, keys }) =>
    element('div', element('dt', ...keys.split(' ').map(key => element('kbd', key))), element('dd', label))
  );
  return Dialog(
    'shortcuts',
    'Keyboard shortcuts',
    element('h2', 'Keyboard shortcuts'),
    element('dl', ...rows),
    element('p', element('label', checkbox, ' Single-key shortcuts')),
    element('form', { method: 'dialog' }, element('button.primary', 'Close'))
  );
}
