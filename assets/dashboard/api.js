// HTTP with the token, and where the token lives. Knows paths and status codes,
// nothing of what the answers mean.

const KEY = 'agenthub.token';
let held = null;

/** The token from the URL's fragment wins and is taken out of the address bar and the history. */
export function takeToken() {
  const m = /[#&]token=([^&]+)/.exec(location.hash);
  if (m) {
    try {
      keepToken(decodeURIComponent(m[1]));
    } catch {
      keepToken(m[1]);
    }
    history.replaceState(null, '', location.pathname + '#/now');
  }
  return !!m;
}

export function keepToken(t) {
  held = t;
  try {
    localStorage.setItem(KEY, t);
  } catch {
    /* private window: this tab only */
  }
}

export function token() {
  try {
    return localStorage.getItem(KEY) || held;
  } catch {
    return held;
  }
}

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let locked = () => {};
export const onLocked = f => {
  locked = f;
};

async function call(method, path, body) {
  const headers = {};
  if (token()) headers.Authorization = 'Bearer ' + token();
  if (body) headers['Content-Type'] = 'application/json';
  let res;
  try {
    res = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(15000) });
  } catch {
    throw new Failure(0, 'The hub does not answer.');
  }
  if (res.ok) return res.json();
  const err = (await res.json().catch(() => ({}))).error || {};
  if (res.status === 401) locked();
  // An older hub without this route: its sentence is about paths, ours about what to do.
  if (res.status === 405 || (res.status === 404 && /nothing at this path/.test(err.message))) err.message = 'This hub is older than its page.';
  throw new Failure(res.status, err.message || 'The hub answered ' + res.status + '.');
}

/** '?a=b', or nothing. */
export const query = q => {
  const p = new URLSearchParams();
  for (const k in q) if (q[k] != null && q[k] !== '') p.set(k, q[k]);
  return String(p) && '?' + p;
};

export const get = (path, q) => call('GET', '/api/' + path + query(q));
export const post = (path, body) => call('POST', '/api/' + path, body);
export const patch = (path, body) => call('PATCH', '/api/' + path, body);
export const enc = encodeURIComponent;
