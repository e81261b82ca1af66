// Settings this browser keeps: localStorage keys start with `agenthub.`, values are JSON.

const PREFIX = 'agenthub.';

/**
 * Used when the browser refuses localStorage, as private windows may. Exists as long as the tab.
 * @type {Record<string, any>}
 */
const fallback = {};

/**
 * @param {string} key
 * @returns {any} undefined if it was never saved
 */
export function loadSetting(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key) ?? 'null') ?? fallback[key];
  } catch {
    return fallback[key];
  }
}

/**
 * @param {string} key
 * @param {unknown} value
 */
export function saveSetting(key, value) {
  fallback[key] = value;
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // The value is in `fallback`.
  }
}

/** @param {string} key */
export function removeSetting(key) {
  delete fallback[key];
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // The browser refuses localStorage: there is no entry.
  }
}

/**
 * Calls `handler` when another tab of this browser has changed a setting.
 * @param {string} key
 * @param {() => void} handler
 */
export const onSettingChange = (key, handler) =>
  addEventListener('storage', event => event.key === PREFIX + key && handler());
