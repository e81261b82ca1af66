// The lock screen: the hub wants its token and this browser has none, or an old one.

import { h, text } from '../dom.js';
import { command } from '../parts.js';
import { token } from '../api.js';

export default function lock() {
  const why = h('p'), root = h('section.lock', h('h1', 'This page is locked'), why, command('This opens it with its key, once. The bookmark works from then on:', 'agenthub open'),
    command('Far from the hub’s machine, this prints the key. Put it behind this page’s address, after #token=', 'agenthub token'));
  return { root, title: 'Locked', paint: () => text(why, token() ? 'The key this browser holds is not this hub’s, or it was renewed.' : 'What agents write is behind a key, so that other programs and web pages cannot read it.') };
}
