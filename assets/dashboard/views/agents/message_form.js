// The form that writes to one agent. It keeps a draft for each.

import { element, setAttribute, setText } from '../../dom.js';
import { ErrorText, Field, handleSubmit, Select, SubmitButton } from '../../components/forms.js';
import { agentName } from '../../authors.js';
import { sendMail } from '../../sync/mail.js';
import { confirmRecipient } from '../../sync/person.js';

const PRIORITIES = ['info', 'action', 'urgent'];

export function MessageForm() {
  let id = '';
  /** @type {Map<string, string>} */
  const drafts = new Map();
  const input = element('textarea', { required: true });
  const prioritySelect = Select(PRIORITIES);
  const alert = ErrorText();
  const submitButton = SubmitButton('Send');
  const root = element(
    'form.agent-message',
    input,
    element('div.toolbar', Field('Priority', prioritySelect), alert, submitButton)
  );
  handleSubmit({
    form: root,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      // The person may open another agent before the hub answers.
      const recipient = id;
      confirmRecipient(recipient);
      await sendMail({ to_inbox: recipient, payload: input.value, priority: prioritySelect.value });
      drafts.delete(recipient);
      if (recipient === id) input.value = '';
    }
  });
  return {
    root,
    focus: () => input.focus(),
    /** @param {string} newId */
    open(newId) {
      if (newId === id) return;
      drafts.set(id, input.value);
      id = newId;
      input.value = drafts.get(id) || '';
      setText(alert, '');
      setAttribute(input, 'aria-label', 'Message to ' + agentName(id));
      setAttribute(input, 'placeholder', `Message ${agentName(id)} as yourself (Ctrl+Enter to send)`);
    }
  };
}
