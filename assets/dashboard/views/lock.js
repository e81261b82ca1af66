// Shown while this browser has no key that the hub accepts.

/** @import { View } from '../types.d.ts' */

import { element, setText, setTextOrHide } from '../dom.js';
import { state } from '../store.js';
import { Command } from '../components/commands.js';
import { ErrorText, Field, handleSubmit, SubmitButton } from '../components/forms.js';
import { savedSession, codeFromInput } from '../session.js';
import { unlockWith } from '../sync.js';

const NO_KEY = 'This browser has no key for the hub yet. A link from agenthub open gives it one.';
const KEY_NOT_ACCEPTED =
  'This browser’s key was revoked, has expired after 30 days without use, or belongs to another hub. A link from agenthub open gives it a new one.';

/** @returns {View} */
export default function LockView() {
  const explanation = element('p');
  const linkError = ErrorText();
  const input = element('input', { required: true, autocomplete: 'off', spellcheck: 'false' });
  const submitButton = SubmitButton('Unlock');
  const alert = ErrorText();
  const form = element('form.unlock-form', Field('Link or code', input), submitButton, alert);
  handleSubmit({
    form,
    submitButton,
    alert,
    verb: 'unlock',
    async submit() {
      state.unlockError = '';
      await unlockWith(codeFromInput(input.value));
      input.value = '';
    }
  });
  const root = element(
    'section.lock',
    element('h1', 'This page is locked'),
    explanation,
    linkError,
    Command({ about: 'Open the page in this browser, from a terminal of your own:', command: 'agenthub open' }),
    element('p', 'Or paste a link here. agenthub serve prints one when it starts. Each link works once.'),
    form
  );
  return {
    root,
    title: 'Locked',
    render() {
      setText(explanation, savedSession() ? KEY_NOT_ACCEPTED : NO_KEY);
      setTextOrHide(linkError, state.unlockError && `${state.unlockError} Run agenthub open for a new one.`);
    }
  };
}
