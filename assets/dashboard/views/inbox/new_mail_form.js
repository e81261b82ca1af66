// The form for new mail.

import { element, setText } from '../../dom.js';
import { ErrorText, Field, handleSubmit, Select, SubmitButton } from '../../components/forms.js';
import { routeToRow } from '../../routes.js';
import { sendMail } from '../../sync/mail.js';
import { confirmRecipient } from '../../sync/person.js';

const PRIORITIES = ['info', 'action', 'urgent'];

/** @param {() => HTMLElement} BackLink */
export function NewMailForm(BackLink) {
  const recipientInput = element('input', { required: true, autocomplete: 'off', list: 'agents' });
  const prioritySelect = Select(PRIORITIES);
  const textInput = element('textarea', { required: true });
  const alert = ErrorText();
  const submitButton = SubmitButton('Send');
  const root = element(
    'form.new-mail',
    element(
      'header.view-header',
      BackLink(),
      element('h2', 'New message'),
      element('p.facts', 'Agents see “human” as the sender.')
    ),
    element('div.form-grid', Field('To', recipientInput), Field('Priority', prioritySelect)),
    Field('Text', textInput),
    element('div.toolbar', alert, submitButton)
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
      location.hash = routeToRow(mail);
    }
  });
  return {
    root,
    /** Opens the form with a recipient, which may be missing. */
    open(/** @type {string | null} */ recipient) {
      recipientInput.value = recipient || recipientInput.value;
      requestAnimationFrame(() => (recipientInput.value ? textInput : recipientInput).focus());
    },
    clearError: () => setText(alert, '')
  };
}
