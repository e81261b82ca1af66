// The form that writes to a thread. It keeps a draft for each thread.

import { element, setText } from '../../dom.js';
import { ErrorText, Field, handleSubmit, Select, SubmitButton } from '../../components/forms.js';
import { confirmRecipient } from '../../sync/person.js';
import { postMessage } from '../../sync/threads.js';

const KINDS = ['directive', 'question', 'proposal', 'status', 'result'];

/** @param {() => void} onSent runs after a message was sent to the open thread */
export function ComposeForm(onSent) {
  let threadId = '';
  /** @type {Map<string, string>} */
  const drafts = new Map();
  const input = element('textarea', {
    required: true,
    placeholder: 'Message as yourself (Ctrl+Enter to send)',
    'aria-label': 'Message'
  });
  const kindSelect = Select(KINDS);
  const recipientInput = element('input', { placeholder: 'everyone', autocomplete: 'off', list: 'agents' });
  const alert = ErrorText();
  const submitButton = SubmitButton('Send');
  const root = element(
    'form.compose',
    input,
    element('div.toolbar', Field('Kind', kindSelect), Field('To', recipientInput), alert, submitButton)
  );
  handleSubmit({
    form: root,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      // The person may open another thread before the hub answers.
      const sentTo = threadId;
      const recipient = recipientInput.value.trim();
      confirmRecipient(recipient);
      await postMessage(sentTo, { content: input.value, kind: kindSelect.value, to_id: recipient || undefined });
      drafts.delete(sentTo);
      if (sentTo !== threadId) return;
      input.value = '';
      onSent();
    }
  });

  /** @param {string} newThreadId */
  function open(newThreadId) {
    drafts.set(threadId, input.value);
    threadId = newThreadId;
    input.value = drafts.get(threadId) || '';
    setText(alert, '');
  }

  return { root, open, focus: () => input.focus() };
}
