// Settings this browser keeps: localStorage keys start with `agenthub.`, values are JSON.

const PREFIX = 'agenthub.';

// Used when the browser refuses localStorage, as private windows may. Exists as long as the tab.
const fallback = {};

export function loadSetting(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key)) ?? fallback[key];
  } catch {
    return fallback[key];
  }
}

export function saveSetting(key, value) {
  fallback[key] = value;
  try {
    localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // The value is in `fallback`.
  }
}

export function removeSetting(key) {
  delete fallback[key];
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // The browser refuses localStorage: there is no entry.
  }
}

/** Calls `handler` when another tab of this browser has changed a setting. */
export const onSettingChange = (key, handler) =>
  addEventListener('storage', event => event.key === PREFIX + key && handler());
