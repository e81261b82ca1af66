// Formats numbers, money, sizes, durations and times. Pure functions.

/** @param {number} number */
const pad = number => String(number).padStart(2, '0');

/**
 * 950, 1.2k, 34.5M.
 * @param {number | undefined} value
 */
export function formatCount(value) {
  let count = value || 0;
  let power = 0;
  for (; count >= 1e3 && power < 4; power++) count /= 1e3;
  return power ? count.toFixed(count < 100 ? 1 : 0) + 'kMBT'[power - 1] : String(count);
}

/** From here on, an amount is shown like a count. */
const LARGE_AMOUNT = 1e6;

/**
 * Dollars with two decimals.
 * @param {number | undefined} dollars
 */
export function formatMoney(dollars) {
  const amount = dollars || 0;
  if (amount > 0 && amount < 0.01) return '<$0.01';
  return '$' + (amount < LARGE_AMOUNT ? amount.toFixed(2) : formatCount(amount));
}

/**
 * 950 B, 1.5 KiB, 71.3 GiB.
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  if (bytes < 1024) return bytes + ' B';
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let size = bytes / 1024;
  // A size of 1023.95 would be shown as 1024.0.
  while (size >= 1023.95 && units.length > 1) {
    size /= 1024;
    units.shift();
  }
  return size.toFixed(1) + ' ' + units[0];
}

/**
 * Seconds as a clock: 0:07, 12:40, 3:05:00.
 * @param {number} seconds
 */
export function formatClock(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600);
  return (hours ? hours + ':' + pad(minutes) : minutes) + ':' + pad(total % 60);
}

/**
 * Seconds as a short duration: 0.8 s, 12 s, 3:05.
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  if (seconds < 0.05) return '';
  if (seconds < 10) return seconds.toFixed(1) + ' s';
  return seconds < 60 ? Math.round(seconds) + ' s' : formatClock(seconds);
}

/** @param {string} text */
export const capitalize = text => text && text[0].toUpperCase() + text.slice(1);

/** Returns the time at which today, or the day some days ago, began, in Unix milliseconds. */
export function startOfDay(daysAgo = 0) {
  const date = new Date();
  date.setHours(0, 0, 0, 0);
  return date.setDate(date.getDate() - daysAgo);
}

/**
 * '1 turn', '2 turns'.
 * @param {number} count
 * @param {string} singular
 */
export const pluralize = (count, singular, plural = singular + 's') =>
  formatCount(count) + ' ' + (count === 1 ? singular : plural);

// The Swedish locale writes dates as in ISO 8601.
const isoFormat = new Intl.DateTimeFormat('sv', { dateStyle: 'short', timeStyle: 'medium' });
const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

/**
 * Local date and time: 2026-11-26 06:37:50.
 * @param {number} ms
 */
export const formatDateTime = ms => isoFormat.format(ms);
/** @param {number | undefined} ms */
export const formatDateTimeOrEmpty = ms => (ms ? formatDateTime(ms) : '');

/**
 * 26 Nov.
 * @param {number} ms
 */
export const formatDay = ms => dayFormat.format(ms);

/**
 * 06:37:50.
 * @param {number} ms
 */
export const formatTime = ms => formatDateTime(ms).slice(11);

/**
 * The day, or an empty string for today.
 * @param {number} ms
 */
export const formatDayUnlessToday = ms => (formatDay(ms) === formatDay(Date.now()) ? '' : formatDay(ms));

/**
 * The time, with the day in front unless it is today.
 * @param {number} ms
 */
export const formatDayAndTime = ms => (formatDayUnlessToday(ms) + ' ' + formatTime(ms)).trim();

/**
 * How long something has waited: 12 s, 3 min, 2 h, 4 d.
 * @param {number} since Unix milliseconds
 */
export function formatWait(since) {
  const seconds = Math.max(0, Math.floor((Date.now() - since) / 1e3));
  if (seconds < 60) return seconds + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
  return seconds < 86400 ? Math.floor(seconds / 3600) + ' h' : Math.floor(seconds / 86400) + ' d';
}

/**
 * Age as one short word. A time in the future, from a writer whose clock is ahead, is 'now'.
 * @param {number | undefined} ms
 */
export function formatAge(ms) {
  if (!ms) return '';
  const seconds = Math.floor((Date.now() - ms) / 1e3);
  if (seconds < 5) return 'now';
  if (seconds < 60) return seconds + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
  return seconds < 86400 ? Math.floor(seconds / 3600) + ' h' : formatDay(ms);
}
