// The lock screen: the hub wants its token and this browser has none, or an old one.

import { h, text } from '../dom.js';
import { command } from '../parts.js';
import { token } from '../api.js';

export default function lock() {
  const why = h('p'),
    root = h(
      'section.lock',
      h('h1', 'This page is locked'),
      why,
      command('This opens it with its key, once. The bookmark works from then on:', 'agenthub open'),
      command('This prints the key; it can also stand in the address, after #token=', 'agenthub token')
    );
  return {
    root,
    title: 'Locked',
    paint: () => text(why, token() ? 'The key in this browser is not this hub’s.' : 'What agents write is behind a key.')
  };
}
