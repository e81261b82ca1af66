// A form that sends mail to an agent: in the inbox, and in a dialog above any other view.

/** @import { Mail } from '../types.d.ts' */

import { element, setText } from '../dom.js';
import { agentName } from '../authors.js';
import { showNotice } from '../store.js';
import { sendMail } from '../sync/mail.js';
import { confirmRecipient } from '../sync/person.js';
import { button, Dialog, ErrorText, Field, handleSubmit, Select, SubmitButton } from './forms.js';

const PRIORITIES = ['info', 'action', 'urgent'];

/**
 * @param {HTMLElement} header
 * @param {(mail: Mail) => void} onSent
 * @param {HTMLElement[]} buttons besides the one that sends
 */
export function MessageForm(header, onSent, ...buttons) {
  const recipientInput = element('input', { required: true, autocomplete: 'off', list: 'agents' });
  const prioritySelect = Select(PRIORITIES);
  const textInput = element('textarea', { required: true });
  const alert = ErrorText();
  const submitButton = SubmitButton('Send');
  /** Texts that are not sent, by recipient. @type {Map<string, string>} */
  const drafts = new Map();
  const root = element(
    'form.new-mail',
    header,
    element('div.form-grid', Field('To', recipientInput), Field('Priority', prioritySelect)),
    Field('Text', textInput),
    element('div.toolbar', alert, ...buttons, submitButton)
  );
  handleSubmit({
    form: root,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      const recipient = recipientInput.value.trim();
      confirmRecipient(recipient);
      const mail = await sendMail({ to_inbox: recipient, payload: textInput.value, priority: prioritySelect.value });
      textInput.value = '';
      drafts.delete(recipient);
      onSent(mail);
    }
  });
  return {
    root,
    /** Fills in the recipient, with what was written to it before. Without one, nothing changes. */
    setRecipient(/** @type {string | null | undefined} */ recipient) {
      if (recipient == null || recipient === recipientInput.value) return;
      drafts.set(recipientInput.value, textInput.value);
      recipientInput.value = recipient;
      textInput.value = drafts.get(recipient) || '';
    },
    focus: () => (recipientInput.value ? textInput : recipientInput).focus(),
    clearError: () => setText(alert, '')
  };
}

/** @type {{ dialog: HTMLDialogElement, form: ReturnType<typeof MessageForm> } | undefined} */
let open;

/**
 * Opens the form above the view. The focus returns to where it was.
 * @param {string} [recipient]
 */
export function openMessageDialog(recipient = '') {
  open ||= createDialog();
  const { dialog, form } = open;
  form.setRecipient(recipient);
  form.clearError();
  if (!dialog.open) dialog.showModal();
  form.focus();
}

function createDialog() {
  const header = element(
    'header.view-header',
    element('h2', 'New message'),
    element('p.facts', 'Agents see “human” as the sender.')
  );
  const onSent = (/** @type {Mail} */ mail) => {
    dialog.close();
    showNotice(`Sent to ${agentName(mail.to_inbox)}.`);
  };
  const form = MessageForm(header, onSent, button('Cancel', () => dialog.close()));
  const dialog = Dialog('message-dialog', 'New message', form.root);
  return { dialog, form };
}
