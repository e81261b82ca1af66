// The form for new mail, in the place of an open message.

import { element } from '../../dom.js';
import { MessageForm } from '../../components/message_form.js';
import { routeToRow } from '../../routes.js';

/** @param {() => HTMLElement} BackLink */
export function NewMailForm(BackLink) {
  const header = element(
    'header.view-header',
    BackLink(),
    element('h2', 'New message'),
    element('p.facts', 'Agents see “human” as the sender.')
  );
  const form = MessageForm(header, mail => {
    location.hash = routeToRow(mail);
  });
  return {
    root: form.root,
    /** Opens the form with a recipient, which may be missing. */
    open(/** @type {string | null} */ recipient) {
      form.setRecipient(recipient);
      requestAnimationFrame(form.focus);
    },
    clearError: form.clearError
  };
}
