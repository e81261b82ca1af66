// How values are written: numbers, money, times, addresses, and text that came from agents.
// Pure functions over strings and numbers; nothing here touches the document.

const pad = n => String(n).padStart(2, '0');

export function num(n) {
  n = +n || 0;
  let i = 0;
  for (; n >= 1e3 && i < 4; i++) n /= 1e3;
  return i ? n.toFixed(n < 100 ? 1 : 0) + 'kMBT'[i - 1] : String(n);
}
export const money = n => (n > 0 && n < 0.01 ? '<$0.01' : '$' + (+n || 0).toFixed(2));
export const size = n => (n < 1e6 ? Math.ceil(n / 1024) + ' KB' : (n / 1048576).toFixed(1) + ' MB');

/** Seconds as a running clock: 0:07, 12:40, 3:05:00. */
export function dur(s) {
  s = Math.max(0, Math.round(s));
  const m = Math.floor(s / 60) % 60,
    h = Math.floor(s / 3600);
  return (h ? h + ':' + pad(m) : m) + ':' + pad(s % 60);
}

/** How long something took: 0.8 s, 12 s, 3:05. */
export const took = s => (s < 0.05 ? '' : s < 10 ? s.toFixed(1) + ' s' : s < 60 ? Math.round(s) + ' s' : dur(s));
export const cap = s => s[0].toUpperCase() + s.slice(1);
export const many = (n, one, more = one + 's') => num(n) + ' ' + (n === 1 ? one : more);

const long = new Intl.DateTimeFormat('sv', { dateStyle: 'short', timeStyle: 'medium' }),
  short = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
/** 2026-11-26 06:37:50: Swedes write dates so. */
export const stamp = ms => long.format(ms);
export const full = ms => (ms ? stamp(ms) : '');
export const day = ms => short.format(ms);
export const hms = ms => stamp(ms).slice(11);
/** The day, if it is not today. */
export const other = ms => (day(ms) === day(Date.now()) ? '' : day(ms));
export const clock = ms => (other(ms) + ' ' + hms(ms)).trim();

/** Age in one short word. Writers' clocks may run ahead: the future is "now". */
export function ago(ms) {
  if (!ms) return '';
  const s = Math.floor((Date.now() - ms) / 1e3);
  return s < 5 ? 'now' : s < 60 ? s + ' s' : s < 3600 ? Math.floor(s / 60) + ' min' : s < 86400 ? Math.floor(s / 3600) + ' h' : day(ms);
}

// Addresses: the route of a view, and where a row stands.

export const enc = encodeURIComponent;
/** A part of an address as it was meant. */
export function part(s) {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}
/** '?a=b', or nothing. */
export const query = q => {
  const p = new URLSearchParams();
  for (const k in q) if (q[k] != null && q[k] !== '') p.set(k, q[k]);
  return String(p) && '?' + p;
};
export const url = (...parts) => '#/' + parts.filter(Boolean).map(enc).join('/');
/** Of a message, a letter, a step or a task. */
export const place = r =>
  r.task_id ? url('tasks', r.task_id, r.id) : r.message_seq ? url('threads', r.thread_id, r.message_seq) : url('inbox', r.to_inbox || '*', r.id);
export const write = id => url('inbox', 'human', 'new') + query({ to: id });

// Text from agents is hostile: colour codes go, and what could hide or reorder text is made visible.
const ansi = /\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\^_])/g;
const odd = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;
const show = c => (c === '\r' ? '' : '\u27e8' + c.codePointAt(0).toString(16).padStart(4, '0') + '\u27e9');

export function safe(s, max = 20000) {
  s = String(s ?? '');
  if (s.length > max) s = s.slice(0, max) + '\n\u2026 ' + num(s.length - max) + ' more characters';
  return s.replace(ansi, '').replace(odd, show);
}

/** The beginning of a text on one line, for lists. */
export const line = (s, max = 160) =>
  safe(String(s ?? '').slice(0, max))
    .replace(/\s+/g, ' ')
    .trim();

/** A tool's input, which is JSON more often than not: its most telling value. */
export function brief(s) {
  if (s && s[0] === '{')
    try {
      const o = JSON.parse(s),
        v = o.command ?? o.file_path ?? o.path ?? o.pattern ?? o.query ?? o.url ?? Object.values(o)[0];
      if (v != null) s = typeof v === 'object' ? JSON.stringify(v) : v;
    } catch {
      /* cut, or not JSON: as it is */
    }
  return line(s);
}
export function pretty(s) {
  if (/^[[{]/.test(s))
    try {
      s = JSON.stringify(JSON.parse(s), null, 2);
    } catch {
      /* as it is */
    }
  return safe(s);
}

/** The last folder of a path. */
export const base = p => line((p || '').replace(/\/+$/, '').replace(/.*\//, ''), 60);

/** Two letters make a name easy to find again. */
export function mark(name) {
  const [a, b] = name.match(/[\p{L}\p{N}]+/gu) || ['?'],
    letters = [...a];
  return (letters[0] + (b ? [...b][0] : letters[1] || '')).toLowerCase();
}
