// Buttons, fields, forms and dialogs.

import { element, setText } from '../dom.js';
import { invalidate } from '../store/schedule.js';

/** @typedef {'button' | 'button.link-button' | 'button.copy' | 'button.fold'} ButtonSelector */

/** A button that copies shows the result for this long. */
const RESULT_SHOWN_MS = 1500;

/**
 * @param {string} label
 * @param {() => void} onclick
 * @param {ButtonSelector} selector
 */
export const button = (label, onclick, selector = 'button') => element(selector, { type: 'button', onclick }, label);

/**
 * Copies the text and shows the result on the button.
 * @param {HTMLButtonElement} copyButton
 * @param {string} text
 */
export async function copyToClipboard(copyButton, text) {
  const label = copyButton.textContent || '';
  try {
    await navigator.clipboard.writeText(text);
    setText(copyButton, 'Copied');
  } catch {
    setText(copyButton, 'Copy failed');
  }
  setTimeout(() => setText(copyButton, label), RESULT_SHOWN_MS);
}

/** The button that submits a form. */
export const SubmitButton = (/** @type {string} */ label) => element('button.primary', label);

/** The text that says why an action has failed. */
export const ErrorText = () => element('p.form-error', { role: 'alert' });

let fieldCount = 0;
/**
 * A label and its input.
 * @param {string} label
 * @param {HTMLElement} input
 */
export function Field(label, input) {
  input.id = 'field-' + ++fieldCount;
  return element('div.field', element('label', { for: input.id }, label), input);
}

/** @param {string[]} options */
export const Select = options => element('select', ...options.map(option => element('option', option)));

/**
 * Runs `submit` on submit and on Ctrl+Enter. If it throws, the alert says "Couldn't <verb>: <reason>" and the input stays.
 * Returns a function that runs another action of the form the same way.
 * @param {{
 *   form: HTMLFormElement,
 *   submitButton: HTMLButtonElement,
 *   alert: HTMLElement,
 *   verb: string,
 *   submit: () => Promise<void>
 * }} options
 */
export function handleSubmit({ form, submitButton, alert, verb, submit }) {
  const run = async (/** @type {() => Promise<void>} */ action, actionVerb = verb) => {
    if (submitButton.disabled) return;
    submitButton.disabled = true;
    setText(alert, '');
    try {
      await action();
    } catch (error) {
      setText(alert, `Couldn’t ${actionVerb}: ${/** @type {Error} */ (error).message}`);
    }
    submitButton.disabled = false;
    invalidate('all');
  };
  form.onsubmit = event => {
    event.preventDefault();
    void run(submit);
  };
  form.onkeydown = event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  return run;
}

/**
 * A modal dialog that a click outside closes.
 * @param {string} className
 * @param {string} label
 * @param {HTMLElement[]} children
 */
export function Dialog(className, label, ...children) {
  const dialog = element(`dialog.${className}`, { 'aria-label': label }, ...children);
  // A handler that returned false would cancel the clicks on buttons and check boxes.
  dialog.onclick = event => {
    if (event.target === dialog) dialog.close();
  };
  document.body.append(dialog);
  return dialog;
}
