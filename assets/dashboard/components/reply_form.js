// A form that replies to a message in place, and marks it as read. Used on Now and in the inbox.
// A process that waits in `agenthub ask` gets the reply.

/** @import { Request } from '../types.d.ts' */

import { element, setText, setAttribute, setHidden } from '../dom.js';
import { expectsReply } from '../store/waits.js';
import { reply, setMailStatus } from '../sync/mail.js';
import { button, ErrorText, handleSubmit, SubmitButton } from './forms.js';
import { agentName, isHumanName } from '../authors.js';

/**
 * Returns whether 'yes' or 'no' answers the message. A "(yes or no)" at its end is no alternative question.
 * @param {Request} mail
 */
function isYesNoQuestion(mail) {
  if (mail.message_type === 'approval_request') return true;
  const question = (mail.payload || '').replace(/[\s([]*\b(yes or no|yes\/no|y\/n)\b[\s)\].]*$/i, '');
  return expectsReply(mail) && /\?\s*$/.test(question) && !/\b(or|who|what|when|where|which|why|how)\b/i.test(question);
}

/** Returns the status that the button of a message sets. */
export const toggledStatus = (/** @type {Request} */ mail) => (mail.status === 'unread' ? 'read' : 'unread');

export function ReplyForm() {
  /** @type {Request | undefined} */
  let mail;
  /** What the person has replied to this message. */
  let outcome = '';
  const input = element('input', { autocomplete: 'off', required: true });
  const submitButton = SubmitButton('Reply');
  const alert = ErrorText();
  const markButton = button('', () => void run(mark, 'mark the message'));
  const quickReplies = ['Yes', 'No'].map(label => button(label, () => void run(() => send(label.toLowerCase()))));
  const root = element('form.reply-form', ...quickReplies, input, submitButton, markButton, alert);
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

  /** @param {string} text */
  async function send(text) {
    if (!mail) return;
    await reply(mail, text);
    outcome = 'Replied: ' + text;
  }

  async function mark() {
    if (mail) await setMailStatus(mail, toggledStatus(mail));
  }

  /** @param {Request} newMail */
  function set(newMail) {
    if (mail?.id !== newMail.id) startOver(newMail);
    mail = newMail;
    // Only the person reads the inbox of `human`.
    const hasReader = !isHumanName(mail.from_agent);
    const isQuick = hasReader && isYesNoQuestion(mail);
    for (const quickReply of quickReplies) setHidden(quickReply, !isQuick);
    for (const node of [input, submitButton]) setHidden(node, !hasReader);
    setText(markButton, mail.status === 'unread' ? 'Mark as read' : 'Mark as unread');
    // Reading mail to everyone is personal and cannot be undone.
    setHidden(markButton, mail.to_inbox === 'all' && mail.status !== 'unread');
    setAttribute(root, 'data-expects-reply', expectsReply(mail));
  }

  /** @param {Request} newMail */
  function startOver(newMail) {
    input.value = outcome = '';
    setText(alert, '');
    const label = 'Reply to ' + agentName(newMail.from_agent);
    setAttribute(input, 'aria-label', label);
    setAttribute(input, 'placeholder', label);
  }

  return { root, input, markButton, set, outcome: () => outcome };
}
