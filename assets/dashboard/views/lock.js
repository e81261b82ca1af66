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
      command('Opens it; the bookmark works from then on:', 'agenthub open'),
      command('Prints the key, which the address takes after #token=', 'agenthub token')
    );
  return {
    root,
    title: 'Locked',
    paint: () => text(why, token() ? 'The key in this browser is not this hub’s.' : 'What agents write is behind a key.')
  };
}
