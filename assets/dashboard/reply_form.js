// A form that replies to a message in place, and marks it as read. Used on Now and in the inbox.
// A process that waits in `agenthub ask` gets the reply.

import { element, setText, setAttribute, setHidden } from './dom.js';
import { reply, setMailStatus } from './sync.js';
import { handleSubmit, button } from './components.js';
import { agentName, isHumanName } from './authors.js';

const expectsReply = mail => /request|question/.test(mail.message_type);

/** Returns whether 'yes' or 'no' answers the message. A "(yes or no)" at its end is no alternative question. */
function isYesNoQuestion(mail) {
  if (mail.message_type === 'approval_request') return true;
  const question = mail.payload.replace(/[\s([]*\b(yes or no|yes\/no|y\/n)\b[\s)\].]*$/i, '');
  return expectsReply(mail) && /\?\s*$/.test(question) && !/\b(or|who|what|when|where|which|why|how)\b/i.test(question);
}

/** Returns { root, input, markButton, lastReply, set(mail) }. */
export function ReplyForm() {
  let mail;
  const input = element('input', { autocomplete: 'off', required: true });
  const submitButton = element('button.primary', 'Reply');
  const alert = element('p.form-error', { role: 'alert' });
  const markButton = button('', () =>
    run(() => setMailStatus(mail, mail.status === 'unread' ? 'read' : 'unread'), 'mark the message')
  );
  const quickReplies = ['Yes', 'No'].map(label => button(label, () => run(() => send(label.toLowerCase()))));
  const root = element('form.reply-form', ...quickReplies, input, submitButton, markButton, alert);
  const form = { root, input, markButton, lastReply: '' };

  async function send(text) {
    await reply(mail, text);
    form.lastReply = 'Replied: ' + text;
  }
  const run = handleSubmit({
    form: root,
    submitButton,
    alert,
    verb: 'send',
    async submit() {
      await send(input.value);
      input.value = '';
    }
  });

  form.set = newMail => {
    if (mail?.id !== newMail.id) {
      input.value = form.lastReply = '';
      setText(alert, '');
      const label = 'Reply to ' + agentName(newMail.from_agent);
      for (const name of ['aria-label', 'placeholder']) setAttribute(input, name, label);
    }
    mail = newMail;
    // Only the person reads the inbox of `human`.
    const hasReader = !isHumanName(mail.from_agent);
    for (const quickReply of quickReplies) setHidden(quickReply, !hasReader || !isYesNoQuestion(mail));
    for (const node of [input, submitButton]) setHidden(node, !hasReader);
    setText(markButton, mail.status === 'unread' ? 'Mark as read' : 'Mark as unread');
    // Reading mail to everyone is personal and cannot be undone.
    setHidden(markButton, mail.to_inbox === 'all' && mail.status !== 'unread');
    setAttribute(root, 'data-expects-reply', expectsReply(mail));
  };
  return form;
}
