// Answering in place: one word or a sentence to whoever asked, and marking as read.
// The same piece stands on Now and in the inbox; the waiting `agenthub ask` gets the answer.

import { h, text, hide, attr } from './dom.js';
import { answer, setMail } from './sync.js';
import { who, onSend, button } from './parts.js';

const asks = m => /request|question/.test(m.message_type);
/** What one word can answer. */
const closed = m => m.message_type === 'approval_request' || (asks(m) && /\?\s*$/.test(m.payload) && !/\b(or|wh\w+|how)\b/i.test(m.payload));

export function Answer() {
  let m;
  const quick = ['yes', 'no'].map(w => button(w === 'yes' ? 'Yes' : 'No', () => send(() => answer(m, w))));
  const input = h('input', { autocomplete: 'off', required: '' }), go = h('button.go', 'Answer'), wrong = h('p.wrong', { role: 'alert' });
  const done = button('', () => send(() => setMail(m, m.status === 'unread' ? 'read' : 'unread')));
  const root = h('form.answer', ...quick, input, go, done, wrong);
  const send = onSend(root, go, wrong, async () => { await answer(m, input.value); input.value = ''; });
  return { root, input, done, set(mail) {
    if (m?.id !== mail.id) { input.value = ''; text(wrong, ''); for (const a of ['aria-label', 'placeholder']) attr(input, a, 'Answer ' + who(mail.from_agent)); }
    m = mail;
    for (const b of quick) hide(b, !closed(m));
    text(done, m.status === 'unread' ? 'Mark read' : 'Mark unread');
    attr(root, 'data-asks', asks(m) ? '' : null);
  } };
}
