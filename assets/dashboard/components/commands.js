// Shell commands that the person copies.

/** @import { CommandText } from '../types.d.ts' */

import { element, setAttribute, setHidden } from '../dom.js';
import { state } from '../store.js';
import { button, copyToClipboard } from './forms.js';

/**
 * A shell command with a description and a button that copies it. `notes` follow the description.
 * @param {Pick<CommandText, 'about' | 'command'>} text
 * @param {(Node | string)[]} notes
 */
export function Command({ about, command }, ...notes) {
  const code = element('code', command);
  const copyButton = button('Copy', () => {
    getSelection()?.selectAllChildren(code);
    void copyToClipboard(copyButton, command);
  });
  setAttribute(copyButton, 'aria-label', 'Copy: ' + command);
  return element('div.command', element('p', about, ...notes), element('div.command-line', code, copyButton));
}

/**
 * A list of the hub's commands, which are known after the first snapshot.
 * @param {(command: CommandText) => HTMLElement} create
 */
export function CommandList(create = command => Command(command)) {
  const root = element('div');
  /** @type {Map<string, CommandText> | undefined} */
  let shown;
  return {
    root,
    /** Shows the named commands of the hub, unless it already does. */
    set(/** @type {string[]} */ names) {
      if (shown === state.commands) return;
      shown = state.commands;
      root.replaceChildren(...names.flatMap(name => state.commands.get(name) ?? []).map(command => create(command)));
    }
  };
}

/**
 * Shown by a view without data: a text, and commands that write some rows.
 * @param {string} title
 * @param {string} text
 * @param {string[]} commandNames
 */
export function EmptyState(title, text, ...commandNames) {
  const commands = CommandList();
  const root = element(
    'section.empty',
    element('h2', title),
    element('p', text),
    commands.root,
    element('p.waiting', 'Waiting for the first row…')
  );
  return {
    root,
    show(/** @type {boolean} */ isVisible) {
      setHidden(root, !isVisible);
      if (isVisible) commands.set(commandNames);
    }
  };
}
