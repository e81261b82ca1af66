// Shown while the hub requires an access token and this browser has none, or one that the hub rejects.

import { element, setText } from '../dom.js';
import { Command, Field, handleSubmit } from '../components.js';
import { savedToken, tokenFromInput } from '../api.js';
import { unlockWith } from '../sync.js';

export default function lock() {
  const explanation = element('p');
  const input = element('input', { type: 'password', required: true, autocomplete: 'off', spellcheck: 'false' });
  const submitButton = element('button.primary', 'Unlock');
  const alert = element('p.form-error', { role: 'alert' });
  const form = element('form.token-form', Field('Access token', input), submitButton, alert);
  handleSubmit({
    form,
    submitButton,
    alert,
    verb: 'unlock',
    async submit() {
      await unlockWith(tokenFromInput(input.value));
      input.value = '';
    }
  });
  const root = element(
    'section.lock',
    element('h1', 'This page needs an access token'),
    explanation,
    form,
    Command({ about: 'Open this page with the token (afterwards, a bookmark works too):', command: 'agenthub open' }),
    Command({ about: 'Print the token, to paste it above:', command: 'agenthub token' })
  );
  return {
    root,
    title: 'Locked',
    render: () =>
      setText(
        explanation,
        savedToken()
          ? 'The saved token belongs to another hub, or was replaced.'
          : 'Paste the token below, or open the page with it.'
      )
  };
}
