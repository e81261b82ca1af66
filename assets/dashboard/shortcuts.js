// The dialog that lists the keyboard shortcuts (?), and turns single-key shortcuts on and off.

import { element } from './dom.js';
import { Dialog } from './components.js';

/** [what they do, keys], in addition to the commands that have a key. */
const SHORTCUTS = [
  ['Next, previous', 'j k'],
  ['Open', 'Enter o'],
  ['Back', 'Esc'],
  ['Reply', 'r'],
  ['Mark as read', 'a'],
  ['Send', 'Ctrl Enter'],
  ['Previous, next task', '[ ]'],
  ['Next, previous error', 'e E'],
  ['Follow latest', 'f'],
  ['Show waterfall', 'w']
];
let dialog;

/** Opens or closes the dialog. `commands` are [label, keys, action]. */
export function toggleShortcuts(commands, singleKeysEnabled, onToggleSingleKeys) {
  dialog ||= createDialog(commands, singleKeysEnabled, onToggleSingleKeys);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

function createDialog(commands, singleKeysEnabled, onToggleSingleKeys) {
  const checkbox = element('input', { type: 'checkbox', onchange: () => onToggleSingleKeys(checkbox.checked) });
  checkbox.checked = singleKeysEnabled;
  const rows = [...commands.filter(([, keys]) => keys), ...SHORTCUTS].map(([label, keys]) =>
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
