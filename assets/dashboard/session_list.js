// The browsers that act for the person: each has a key, which can be revoked here.

import { element, setText, setHidden } from './dom.js';
import { Tag, setTag, button, updateChildren } from './components.js';
import { fetchSessions, revokeSession } from './sync.js';
import { capitalize, formatDay, formatDayAndTime } from './format.js';
import { oneLine, safeText } from './safe_text.js';

/** [pattern in a User-Agent, name]; the first that matches counts. Chromium's contains those of others. */
const BROWSERS = [
  [/Firefox\//, 'Firefox'],
  [/Edg\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/Chrome\//, 'Chrome'],
  [/Safari\//, 'Safari']
];
const SYSTEMS = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS/, 'macOS'],
  [/Linux/, 'Linux']
];

/** Returns a short name of a browser, or the beginning of its User-Agent. */
function browserName(userAgent) {
  const find = names => names.find(([pattern]) => pattern.test(userAgent))?.[1];
  const [name, system] = [find(BROWSERS), find(SYSTEMS)];
  return name ? name + (system ? ' on ' + system : '') : oneLine(userAgent, 60) || 'Unnamed browser';
}

/** Returns { root, load() }. */
export function SessionList() {
  const alert = element('p.form-error', { role: 'alert' });
  const list = element('ul.sessions');
  const root = element(
    'div',
    element('p.facts', 'A browser with a key acts as you. A key expires after 30 days without use.'),
    list,
    alert
  );

  function Session() {
    const name = element('b');
    const tag = Tag();
    const facts = element('span.facts');
    const revokeButton = button('', () => revoke(node.session, revokeButton));
    const node = element('div.session', name, tag, revokeButton, facts);
    node.set = session => {
      node.session = session;
      setText(name, browserName(session.browser));
      name.title = safeText(session.browser, 200);
      setTag(tag, session.current ? 'this browser' : '');
      const label = session.current ? 'Sign out' : 'Revoke';
      setText(revokeButton, label);
      revokeButton.setAttribute('aria-label', `${label}: ${name.textContent}, key ${safeText(session.id, 20)}`);
      setText(
        facts,
        [
          'Key ' + safeText(session.id, 20),
          'since ' + formatDayAndTime(session.created_at),
          'last used ' + formatDayAndTime(session.last_used_at),
          'expires ' + formatDay(session.expires_at)
        ].join(' · ')
      );
    };
    return node;
  }

  async function load() {
    try {
      const { items } = await fetchSessions();
      items.sort((a, b) => b.current - a.current || b.last_used_at - a.last_used_at);
      updateChildren(list, items, Session, (node, session) => node.set(session));
      setText(alert, '');
    } catch (error) {
      setHidden(list, true);
      setText(alert, capitalize(error.message));
      return;
    }
    setHidden(list, false);
  }

  async function revoke(session, revokeButton) {
    revokeButton.disabled = true;
    try {
      await revokeSession(session);
      if (!session.current) await load();
    } catch (error) {
      setText(alert, `Couldn’t revoke the key: ${error.message}`);
    }
    revokeButton.disabled = false;
  }

  return { root, load };
}
