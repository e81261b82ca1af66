// The browsers that act for the person: each has a key, which can be revoked here.

/** @import { BrowserSession } from '../types.d.ts' */

import { element, setText, setHidden } from '../dom.js';
import { revokeSession } from '../sync.js';
import { fetchSessions } from '../sync/requests.js';
import { capitalize, formatDay, formatDayAndTime } from '../format.js';
import { oneLine, safeText } from '../safe_text.js';
import { button, ErrorText } from './forms.js';
import { Tag } from './labels.js';
import { Repeated } from './lists.js';

/**
 * The first pattern in a User-Agent that matches counts. Chromium's contains those of others.
 * @type {[RegExp, name: string][]}
 */
const BROWSERS = [
  [/Firefox\//, 'Firefox'],
  [/Edg\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/Chrome\//, 'Chrome'],
  [/Safari\//, 'Safari']
];
/** @type {[RegExp, name: string][]} */
const SYSTEMS = [
  [/Android/, 'Android'],
  [/iPhone|iPad/, 'iOS'],
  [/Windows/, 'Windows'],
  [/Mac OS/, 'macOS'],
  [/Linux/, 'Linux']
];

/**
 * Returns a short name of a browser, or the beginning of its User-Agent.
 * @param {string} userAgent
 */
function browserName(userAgent) {
  const nameIn = (/** @type {[RegExp, string][]} */ names) => names.find(([pattern]) => pattern.test(userAgent))?.[1];
  const name = nameIn(BROWSERS);
  const system = nameIn(SYSTEMS);
  return name ? name + (system ? ' on ' + system : '') : oneLine(userAgent, 60) || 'Unnamed browser';
}

/**
 * One browser, with the button that revokes its key.
 * @param {(session: BrowserSession, revokeButton: HTMLButtonElement) => Promise<void>} revoke
 */
function SessionRow(revoke) {
  /** @type {BrowserSession} */
  let session;
  const name = element('b');
  const tag = Tag();
  const facts = element('span.facts');
  const revokeButton = button('', () => void revoke(session, revokeButton));
  const root = element('div.session', name, tag.root, revokeButton, facts);
  return {
    root,
    /** @param {BrowserSession} newSession */
    set(newSession) {
      session = newSession;
      const shortName = browserName(session.browser);
      const key = safeText(session.id, 20);
      setText(name, shortName);
      name.title = safeText(session.browser, 200);
      tag.set(session.current ? 'this browser' : '');
      const label = session.current ? 'Sign out' : 'Revoke';
      setText(revokeButton, label);
      revokeButton.setAttribute('aria-label', `${label}: ${shortName}, key ${key}`);
      const parts = [
        'Key ' + key,
        'since ' + formatDayAndTime(session.created_at),
        'last used ' + formatDayAndTime(session.last_used_at),
        'expires ' + formatDay(session.expires_at)
      ];
      setText(facts, parts.join(' · '));
    }
  };
}

/** The list of browsers; `load()` requests it. */
export function SessionList() {
  const alert = ErrorText();
  const list = Repeated(element('ul.sessions'), () => SessionRow(revoke));
  const root = element(
    'div',
    element('p.facts', 'A browser with a key acts as you. A key expires after 30 days without use.'),
    list.root,
    alert
  );

  async function load() {
    try {
      const { items } = await fetchSessions();
      list.set(items.sort((a, b) => +b.current - +a.current || b.last_used_at - a.last_used_at));
      setText(alert, '');
      setHidden(list.root, false);
    } catch (error) {
      setHidden(list.root, true);
      setText(alert, capitalize(/** @type {Error} */ (error).message));
    }
  }

  /**
   * @param {BrowserSession} session
   * @param {HTMLButtonElement} revokeButton
   */
  async function revoke(session, revokeButton) {
    revokeButton.disabled = true;
    try {
      await revokeSession(session);
      if (!session.current) await load();
    } catch (error) {
      setText(alert, `Couldn’t revoke the key: ${/** @type {Error} */ (error).message}`);
    }
    revokeButton.disabled = false;
  }

  return { root, load };
}
