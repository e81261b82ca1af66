// The lock screen: the hub wants its token and this browser has none, or an old one.
// Says what to do; takes a pasted token from those who come through a tunnel.

import { h, text } from '../dom.js';
import { command, field } from '../parts.js';
import { keepToken, token } from '../api.js';
import { unlock } from '../sync.js';

export default function lock() {
  const input = h('input', { type: 'password', autocomplete: 'off', required: '' }), why = h('p');
  const form = h('form', field('Token', input), h('button.go', 'Unlock'));
  form.onsubmit = e => { e.preventDefault(); keepToken(input.value.trim()); input.value = ''; unlock(); };
  const root = h('section.lock', h('h1', 'This page is locked'), why,
    command('This opens it with its key, once. The bookmark works from then on:', 'agenthub open'),
    h('details', h('summary', 'Or paste the token'), h('p', 'Printed by ', h('code', 'agenthub token'), ' on the machine the hub runs on.'), form));
  return {
    root, title: 'Locked',
    paint() { text(why, token() ? 'The token this browser holds is not this hub’s, or it was renewed.' : 'What your agents write is behind a token, so that other programs and web pages on this machine cannot read it.'); },
  };
}
