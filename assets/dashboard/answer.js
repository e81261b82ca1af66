// Answering in place: one word or a sentence to whoever asked, and marking as read.
// The same piece stands on Now and in the inbox; the waiting `agenthub ask` gets the answer.

import { h, text, hide, attr } from './dom.js';
import { answer, setMail } from './sync.js';
import { who, onSend, button } from './parts.js';

const asks = m => /request|question/.test(m.message_type);
/** What one word can answer; that it can is sometimes said in brackets. */
function closed(m) {
  const q = m.payload.replace(/[\s([]*\b(yes or no|yes\/no|y\/n)\b[\s)\].]*$/i, '');
  return m.message_type === 'approval_request' || (asks(m) && /\?\s*$/.test(q) && !/\b(or|who|what|when|where|which|why|how)\b/i.test(q));
}

export function Answer() {
  let m;
  const it = {},
    tell = async w => {
      await answer(m, w);
      it.last = 'Answered: ' + w;
    };
  const quick = ['Yes', 'No'].map(w => button(w, () => send(() => tell(w.toLowerCase()))));
  const input = h('input', { autocomplete: 'off', required: true }),
    go = h('button.go', 'Answer'),
    wrong = h('p.wrong', { role: 'alert' });
  const done = button('', () => send(() => setMail(m, m.status === 'unread' ? 'read' : 'unread')));
  const root = h('form.answer', ...quick, input, go, done, wrong);
  const send = onSend(root, go, wrong, async () => {
    await tell(input.value);
    input.value = '';
  });
  return Object.assign(it, {
    root,
    input,
    done,
    set(mail) {
      if (m?.id !== mail.id) {
        input.value = it.last = '';
        text(wrong, '');
        for (const a of ['aria-label', 'placeholder']) attr(input, a, 'Answer ' + who(mail.from_agent));
      }
      m = mail;
      for (const b of quick) hide(b, !closed(m));
      text(done, m.status === 'unread' ? 'Mark read' : 'Mark unread');
      // What is to everybody was read by the person, not by all.
      hide(done, m.to_inbox === 'all' && m.status !== 'unread');
      attr(root, 'data-asks', asks(m));
    }
  });
}
